"""What a step learns from: rewards with the weights of the step, and charts that are played in place of groups without spread."""

import dataclasses

import numpy as np
import pytest

from recoder_jax.configuration import load
from recoder_jax.rewards.mixture import Mixture, Ramp
from recoder_jax.rollout.lessons import RolloutLessons
from recoder_jax.rollout.play import Player
from recoder_jax.runs.directory import RunDirectory
from tests.test_rollout import GOLDEN, PLAN, Saying, player  # noqa: F401  (a fixture)


def test_the_weights_of_a_lesson_follow_its_step(policy, player, world, tmp_path):  # noqa: F811
    config = load("configs/tiny/msrl_ramp.py", [f"--config.data.dir={world}", "--config.batch.size=2", "--config.rollout.charts=2"])
    reward = Mixture(0.0, 0.0, similarity=0.5, executed=0.5, ramp=Ramp(4, executed=1.0))
    told = f"<think>a</think>\n```python\n{GOLDEN}```"
    plan = dataclasses.replace(PLAN, turns=1, branch_turn=1, group=2)
    lessons = RolloutLessons(config, dataclasses.replace(player, encoder=Saying(policy.encoder, told), reward=reward), plan, RunDirectory(tmp_path))
    steps = {step: lessons(policy.params, step, 2 * step).metrics for step in (3, 0, 8)}      # in any order, as after a resume
    assert "reward/similarity" not in steps[0] and steps[0]["reward/total"] == 1.0
    for step, share in ((3, 0.375), (8, 0.5)):
        assert steps[step]["reward/total"] == pytest.approx(1 - share + share * steps[step]["reward/similarity"])


@dataclasses.dataclass(frozen=True)
class Graded(Player):
    """A player whose groups are rewarded by their number in the step: all alike, or apart. seen: numbers of each call."""

    apart: tuple[int, ...] = ()
    seen: list = dataclasses.field(default_factory=list)

    def play(self, params, charts, plan, seed, step, place):
        self.seen.append(list(place.numbers))
        groups, times = super().play(params, charts, plan, seed, step, place=place)
        graded = []
        for number, group in zip(place.numbers, groups, strict=True):
            rewards = np.arange(plan.group) / plan.group if number in self.apart else np.full(plan.group, 0.5)
            trajectories = tuple(dataclasses.replace(t, reward=float(r)) for t, r in zip(group.trajectories, rewards, strict=True))
            graded.append(dataclasses.replace(group, trajectories=trajectories))
        return graded, times


@pytest.mark.parametrize(("refills", "apart", "seen", "used"), [
    (3, (2, 4), [[0, 1], [2, 3], [4]], 2), (1, (2, 4), [[0, 1], [2, 3]], 1), (2, (), [[0, 1], [2, 3], [4, 5]], 6), (0, (1,), [[0, 1]], 2),
])
def test_groups_without_spread_are_refilled_from_the_charts_that_follow(refills, apart, seen, used, policy, player, world, tmp_path):  # noqa: F811
    """Only groups with spread are trained, at most `rollout.refills` rounds are played for them, and the next step starts behind what was
    played; where no group has spread, all are kept."""
    config = load("configs/tiny/msrl_stage1.py", [
        f"--config.data.dir={world}", "--config.batch.size=2", "--config.rollout.charts=2", f"--config.rollout.refills={refills}",
    ])
    plan = dataclasses.replace(PLAN, turns=1, branch_turn=1, group=2)
    graded = Graded(**{f.name: getattr(player, f.name) for f in dataclasses.fields(player)}, apart=apart)
    lessons = RolloutLessons(config, graded, plan, RunDirectory(tmp_path))
    lesson = lessons(policy.params, 3, 7)
    played = sum(map(len, seen))
    assert graded.seen == seen and lesson.stop == 7 + played and len(lesson.trees) == used
    assert (lesson.metrics["rollout/played"], lesson.metrics["rollout/used"]) == (played, used)
    assert lesson.charts == tuple(chart.id for chart in lessons._pipeline.span(7, played)) and len(lesson.records()) == 2 * played
    assert sum(any(tree.advantages) for tree in lesson.trees) == len([n for n in apart if n < played])
