"""What a rollout says about itself: metrics by name, and the records that the report shows."""

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from recoder_jax.charts.sandbox import Execution
from recoder_jax.rewards.mixture import Reward
from recoder_jax.rollout.trajectory import Group, Trajectory, Turn
from recoder_jax.runs.records import DialogueRecord, TurnRecord


def rollout_metrics(groups: Sequence[Group], same_program: Callable[[str, str], bool]) -> dict[str, float]:
    """Means over all trajectories: reward parts of the last turn, parts by turn, correction from turn 1 to the last.

    Correction metrics count charts whose turn-1 program executes, low-level in points (0 to 100); shares lie in [0, 1].
    """
    trajectories = [t for group in groups for t in group.trajectories]
    rewards = np.array([group.rewards for group in groups])
    metrics = {
        "reward/total": float(rewards.mean()),
        "reward/group_std": float(rewards.std(axis=1).mean()),
        "reward/equal_groups": float((np.ptp(rewards, axis=1) < 1e-9).mean()),
    }
    last = [trajectory.turns[-1].reward for trajectory in trajectories]
    metrics |= reward_metrics(last)
    for number in range(1, len(trajectories[0].turns) + 1):
        scores = [trajectory.turns[number - 1].reward.scores for trajectory in trajectories]
        metrics[f"turn{number}/executed"] = float(np.mean([score.executed for score in scores]))
        for name in ("low_level", "text", "layout", "chart_type", "color"):
            metrics[f"turn{number}/{name}"] = 100 * float(np.mean([getattr(score, name) for score in scores]))
    metrics |= correction_metrics(trajectories, same_program)
    turns = _sampled_turns(groups)
    metrics |= execution_metrics([turn.execution for turn in turns])
    metrics["sampling/tokens"] = float(sum(len(turn.tokens) for turn in turns))
    metrics["sampling/response_tokens"] = float(np.mean([len(turn.tokens) for turn in turns]))
    metrics["sampling/truncated"] = float(np.mean([not turn.ended for turn in turns]))
    return metrics


def reward_metrics(rewards: Sequence[Reward]) -> dict[str, float]:
    """Mean of every part over the rewards that have it, of what parts are made of (`Reward.items`), and what the judge left out:
    `reward/unjudged` and `judge/failed_<kind>` are shares of the rewards that asked it, `judge/cached` of those it answered."""
    metrics = {}
    for name in dict.fromkeys(part.name for reward in rewards for part in reward.scored):
        had = [score for reward in rewards if (score := reward.part(name)) is not None]
        metrics |= {f"reward/{name}": float(np.mean(had))} if had else {}
    asked = [reward.judgement for reward in rewards if reward.judgement is not None]
    answered = [judgement for judgement in asked if judgement.score is not None]
    if asked:
        metrics["reward/unjudged"] = 1 - len(answered) / len(asked)
    for kind in dict.fromkeys(judgement.kind for judgement in asked if judgement.kind):
        metrics[f"judge/failed_{kind}"] = sum(judgement.kind is kind for judgement in asked) / len(asked)
    items = [reward.items() for reward in rewards]
    for name in dict.fromkeys(name for values in items for name in values):
        metrics[name] = float(np.mean([values[name] for values in items if name in values]))
    if answered:
        metrics["judge/cached"] = float(np.mean([judgement.cached for judgement in answered]))
    return metrics


def without_incomplete(groups: Sequence[Group], advantages: np.ndarray) -> tuple[np.ndarray, float]:
    """Advantages [N, G] with zeros for groups in which a part of a reward is missing, and the share of such groups.

    Rewards of a group are compared with each other, so one that lacks a part spoils the comparison for all.
    """
    complete = np.array([all(trajectory.complete for trajectory in group.trajectories) for group in groups])
    return np.where(complete[:, None], advantages, 0.0), float(1 - complete.mean())


def execution_metrics(executions: Sequence[Execution]) -> dict[str, float]:
    """Shares of the ways programs ended, without those that no program had, and of programs that show signs of tampering."""
    ends = Counter(execution.status.value for execution in executions)
    shares = {f"sandbox/{name}": count / len(executions) for name, count in sorted(ends.items())}
    return shares | {"sandbox/tampered": float(np.mean([bool(execution.tampered) for execution in executions]))}


def alarms(groups: Sequence[Group]) -> list[str]:
    """Sentences about what somebody should look at: programs that show signs of tampering with the sandbox."""
    turns = [(group.chart.id, turn) for group in groups for turn in _sampled_turns([group]) if turn.execution.tampered]
    if not turns:
        return []
    chart, turn = turns[0]
    return [f"{len(turns)} of {len(_sampled_turns(groups))} programs show signs of tampering with the sandbox, the first for {chart} in turn "
            f"{turn.number}: {turn.execution.tampered}; look at its dialogue"]


def not_finite(groups: Sequence[Group]) -> str | None:
    """The first reward that is no finite number, in words: a part, of which chart and turn; None when all are."""
    for group in groups:
        for trajectory in group.trajectories:
            if np.isfinite(trajectory.reward):
                continue
            scored = [(turn.number, part) for turn in trajectory.turns if turn.reward for part in turn.reward.scored]
            for number, part in scored:
                if part.score is not None and not np.isfinite(part.score):
                    return f"reward part {part.name} of chart {group.chart.id} in turn {number} is {part.score}"
            return f"the reward of chart {group.chart.id} is {trajectory.reward}"
    return None


def correction_metrics(trajectories: Sequence[Trajectory], same_program: Callable[[str, str], bool]) -> dict[str, float]:
    """From turn 1 to the last turn, over trajectories whose turn-1 program executes; nothing with one turn or none counted."""
    counted = [t.turns for t in trajectories if len(t.turns) > 1 and t.turns[0].reward.scores.executed]
    if not counted:
        return {}
    rise = np.array([100 * (turns[-1].reward.scores.low_level - turns[0].reward.scores.low_level) for turns in counted])
    repeated = [same_program(turns[0].response.program or "", turns[-1].response.program or "") for turns in counted]
    return {
        "correction/average_improvement": float(rise.mean()),
        "correction/improve_rate": float((rise > 0).mean()),
        "correction/degrade_rate": float((rise < 0).mean()),
        "correction/repeat_rate": float(np.mean(repeated)),
    }


def _sampled_turns(groups: Sequence[Group]) -> list[Turn]:
    """Every turn once: shared turns are the same object in each trajectory of a group."""
    return list({id(turn): turn for group in groups for t in group.trajectories for turn in t.turns}.values())


def dialogue_records(
    groups: Sequence[Group], advantages: np.ndarray | None, step: int, store_render: Callable[[np.ndarray], str]
) -> list[DialogueRecord]:
    """One record a trajectory, renders stored by content. advantages: [N, G], None where nothing is trained."""
    records = []
    for n, group in enumerate(groups):
        target = store_render(group.chart.image)
        for g, trajectory in enumerate(group.trajectories):
            advantage = None if advantages is None else float(advantages[n, g])
            turns = tuple(_turn_record(turn, turn.number < group.branch_turn, advantage, store_render) for turn in trajectory.turns)
            records.append(
                DialogueRecord(
                    step=step, chart=group.chart.id, kind=group.chart.kind, branch=g, branch_turn=group.branch_turn,
                    golden=group.chart.program, target=target, reward=trajectory.reward, turns=turns,
                )
            )
    return records


def _turn_record(turn: Turn, shared: bool, advantage: float | None, store_render) -> TurnRecord:
    execution = turn.execution
    return TurnRecord(
        turn=turn.number, text=turn.response.text, program=turn.response.program, status=execution.status.value, log=execution.log,
        render=None if execution.render is None else store_render(execution.render),
        parts=turn.reward.parts() if turn.reward else {}, tokens=len(turn.tokens), shared=shared,
        advantage=None if shared else advantage,
    )
