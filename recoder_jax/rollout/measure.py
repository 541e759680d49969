"""What a rollout says about itself: metrics by name, and the records that the report shows."""

from collections.abc import Callable, Sequence

import numpy as np

from recoder_jax.charts.sandbox import Execution, Status
from recoder_jax.dialogue.difference import difference
from recoder_jax.rewards.judgement import FailureKind
from recoder_jax.rewards.mixture import Reward
from recoder_jax.rollout.tally import Spread, Tally, mean
from recoder_jax.rollout.trajectory import Group, Trajectory, Turn
from recoder_jax.runs.records import DialogueRecord, TurnRecord


def rollout_metrics(groups: Sequence[Group], same_program: Callable[[str, str], bool]) -> Tally:
    """Of all trajectories: reward parts of the last turn, parts by turn, correction from turn 1 to the last; of all responses: their length.

    Correction metrics count charts whose turn-1 program executes, low-level in points (0 to 100); shares lie in [0, 1]. The tallies of two
    halves of the groups add up to that of all.
    """
    trajectories = [t for group in groups for t in group.trajectories]
    rewards = [group.rewards for group in groups]
    turns = _sampled_turns(groups)
    return (
        Tally(
            means={
                "reward/total": mean(reward for row in rewards for reward in row),
                "reward/group_std": mean(np.std(row) for row in rewards),
                "reward/equal_groups": mean(np.ptp(row) < 1e-9 for row in rewards),
                "sampling/response_tokens": mean(len(turn.tokens) for turn in turns),
                "sampling/truncated": mean(not turn.ended for turn in turns),
            },
            sums={"sampling/tokens": float(sum(len(turn.tokens) for turn in turns))},
        )
        + reward_metrics([trajectory.turns[-1].reward for trajectory in trajectories])
        + turn_metrics(trajectories, turns)
        + correction_metrics(trajectories, same_program)
        + execution_metrics([turn.execution for turn in turns])
        + judge_metrics(turns)
    )


def turn_metrics(trajectories: Sequence[Trajectory], sampled: Sequence[Turn]) -> Tally:
    """Turn by turn: the reward and its parts in [0, 1], rule scores in points, and mean and most tokens of the responses. sampled: every
    turn once; a shared turn counts for each of its trajectories in the reward and once in the lengths."""
    means, maxima = {}, {}
    for number in sorted({turn.number for turn in sampled}):
        rewards = [trajectory.turns[number - 1].reward for trajectory in trajectories]
        means[f"turn{number}/total"] = mean(reward.total for reward in rewards)
        means |= {f"turn{number}/{name}": value for name, value in part_means(rewards).items()}
        means[f"turn{number}/executed"] = mean(reward.scores.executed for reward in rewards)
        measures = [reward.scores.measures() for reward in rewards]
        for name in dict.fromkeys(name for each in measures for name in each):
            means[f"turn{number}/{name}"] = mean(100 * each[name] for each in measures if name in each)
        lengths = [len(turn.tokens) for turn in sampled if turn.number == number]
        means[f"turn{number}/response_tokens"] = mean(lengths)
        maxima[f"turn{number}/response_tokens_max"] = max(lengths)
    return Tally(means=means, maxima=maxima)


def part_means(rewards: Sequence[Reward]) -> dict[str, tuple[float, float]]:
    """Of every part, over the rewards that have it."""
    names = dict.fromkeys(part.name for reward in rewards for part in reward.scored)
    return {name: mean(score for reward in rewards if (score := reward.part(name)) is not None) for name in names}


def reward_metrics(rewards: Sequence[Reward]) -> Tally:
    """Mean of every part over the rewards that have it, of what parts are made of (`Reward.items`), and what the judge left out:
    `reward/unjudged` and `judge/failed_<kind>` are shares of the rewards that asked it, `judge/cached` of those it answered."""
    means = {f"reward/{name}": value for name, value in part_means(rewards).items()}
    asked = [reward.judgement for reward in rewards if reward.judgement is not None]
    means["reward/unjudged"] = mean(judgement.score is None for judgement in asked)
    items = [reward.items() for reward in rewards]
    means |= {name: mean(values[name] for values in items if name in values) for name in dict.fromkeys(name for values in items for name in values)}
    means["judge/cached"] = mean(judgement.cached for judgement in asked if judgement.score is not None)
    return Tally(means=means, shares={f"judge/failed_{kind}": mean(judgement.kind is kind for judgement in asked) for kind in FailureKind})


def judge_metrics(turns: Sequence[Turn]) -> Tally:
    """`judge/spread`: standard deviation of what the judge said of renders, in [0, 1]; a turn without a render it is not asked about."""
    judgements = [turn.reward.judgement for turn in turns if turn.reward.judgement is not None and turn.execution.render is not None]
    return Tally(spreads={"judge/spread": Spread.of(judgement.score for judgement in judgements if judgement.score is not None)})


def advantage_metrics(advantages: np.ndarray) -> Tally:
    """Of what weighs the trajectories in the update, [N, G]."""
    values = np.asarray(advantages, np.float64).ravel().tolist()
    return Tally(spreads={"advantage/std": Spread.of(values)}, maxima={"advantage/max_abs": max(map(abs, values))} if values else {})


def without_incomplete(groups: Sequence[Group], advantages: np.ndarray) -> tuple[np.ndarray, Tally]:
    """Advantages [N, G] with zeros for groups in which a part of a reward is missing, and the share of such groups as `reward/dropped_groups`.

    Rewards of a group are compared with each other, so one that lacks a part spoils the comparison for all.
    """
    complete = np.array([all(trajectory.complete for trajectory in group.trajectories) for group in groups])
    return np.where(complete[:, None], advantages, 0.0), Tally(means={"reward/dropped_groups": mean(~complete)})


def execution_metrics(executions: Sequence[Execution]) -> Tally:
    """Shares of the ways programs ended, without those that no program had, and of programs that show signs of tampering."""
    return Tally(
        means={"sandbox/tampered": mean(bool(execution.tampered) for execution in executions)},
        shares={f"sandbox/{status.value}": mean(execution.status is status for execution in executions) for status in Status},
    )


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


def correction_metrics(trajectories: Sequence[Trajectory], same_program: Callable[[str, str], bool]) -> Tally:
    """From turn 1 to the last turn, over trajectories whose turn-1 program executes; nothing with one turn or none counted.
    `correction/rewarded` is the share of all trajectories whose last turn has a higher reward than the first."""
    several = [t.turns for t in trajectories if len(t.turns) > 1]
    counted = [turns for turns in several if turns[0].reward.scores.executed]
    rise = [100 * (turns[-1].reward.scores.low_level - turns[0].reward.scores.low_level) for turns in counted]
    repeated = [same_program(turns[0].response.program or "", turns[-1].response.program or "") for turns in counted]
    return Tally(
        means={
            "correction/average_improvement": mean(rise),
            "correction/improve_rate": mean(each > 0 for each in rise),
            "correction/degrade_rate": mean(each < 0 for each in rise),
            "correction/repeat_rate": mean(repeated),
            "correction/rewarded": mean(turns[-1].reward.total > turns[0].reward.total for turns in several),
        }
    )


def _sampled_turns(groups: Sequence[Group]) -> list[Turn]:
    """Every turn once: shared turns are the same object in each trajectory of a group."""
    return list({id(turn): turn for group in groups for t in group.trajectories for turn in t.turns}.values())


def dialogue_records(
    groups: Sequence[Group], advantages: np.ndarray | None, step: int, store_render: Callable[[np.ndarray], str]
) -> list[DialogueRecord]:
    """One record a trajectory, renders and pictures of differences stored by content. advantages: [N, G], None where nothing is trained."""
    records = []
    for n, group in enumerate(groups):
        target = store_render(group.chart.image)
        for g, trajectory in enumerate(group.trajectories):
            advantage = None if advantages is None else float(advantages[n, g])
            turns = tuple(
                _turn_record(turn, turn.number < group.branch_turn, advantage, store_render, group.chart.image) for turn in trajectory.turns
            )
            records.append(
                DialogueRecord(
                    step=step, chart=group.chart.id, kind=group.chart.kind, branch=g, branch_turn=group.branch_turn,
                    golden=group.chart.program, target=target, reward=trajectory.reward, turns=turns,
                )
            )
    return records


def _turn_record(turn: Turn, shared: bool, advantage: float | None, store_render, target: np.ndarray) -> TurnRecord:
    execution = turn.execution
    return TurnRecord(
        turn=turn.number, text=turn.response.text, program=turn.response.program, status=execution.status.value, log=execution.log,
        render=None if execution.render is None else store_render(execution.render),
        parts=turn.reward.parts() if turn.reward else {}, tokens=len(turn.tokens), shared=shared,
        advantage=None if shared else advantage,
        difference=store_render(difference(execution.render, target)) if turn.compared else None,
    )
