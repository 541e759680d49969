"""Metrics of a rollout: what they mean, and that those of its parts add up to those of the whole."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recoder_jax.charts.chart import Chart
from recoder_jax.charts.execution import Execution, Status
from recoder_jax.charts.scores import RuleScore
from recoder_jax.dialogue.response import parse_response
from recoder_jax.rewards.judgement import FailureKind, Judgement, failed
from recoder_jax.rewards.mixture import PartScore, Reward
from recoder_jax.rollout.measure import advantage_metrics, rollout_metrics
from recoder_jax.rollout.tally import Spread, Tally, mean
from recoder_jax.rollout.trajectory import Group, Trajectory, Turn

RENDER = np.zeros((2, 2, 3), np.uint8)
scores = st.sampled_from([0.0, 0.25, 0.5, 1.0])


def turn_of(number, low_level, status=Status.ok, judgement=None, tokens=5, program="x = 1", ended=True):
    """A turn whose reward is its low-level score, or the mean of that and of what the judge said."""
    executed = status is Status.ok
    low_level = low_level if executed else 0.0
    parts = [PartScore("format", 0.0, 1.0), PartScore("rule", 0.5, low_level)]
    parts += [] if judgement is None else [PartScore("model", 0.5, judgement.score)]
    rule = RuleScore(executed, low_level, low_level, low_level, low_level)
    had = [part.score for part in parts[1:] if part.score is not None]
    execution = Execution(status, RENDER if executed else None, None, "", 0.1)
    response = parse_response(f"<think>a</think>\n```python\n{program}\n```")
    reward = Reward(sum(had) / len(had), tuple(parts), rule, judgement)
    return Turn(number, np.zeros(tokens, np.int32), np.zeros(tokens, np.float32), ended, response, execution, reward, None)


judgements = st.none() | st.builds(Judgement, scores) | st.sampled_from([failed(kind, "no") for kind in (FailureKind.timeout, FailureKind.broken)])
turns = st.builds(
    turn_of, st.just(1), scores, st.sampled_from([Status.ok, Status.ok, Status.error, Status.timeout]), judgements, st.integers(1, 9),
    st.sampled_from(["x = 1", "x = 2"]), st.booleans(),
)  # fmt: skip


@st.composite
def groups(draw, count=2, size=2, length=2, branch_turn=None):
    """Groups of one shape, whose turns before the branch turn are the same objects."""
    branch_turn = branch_turn or draw(st.integers(1, length))
    made = []
    for index in range(draw(st.integers(1, count))):
        shared = [dataclasses.replace(draw(turns), number=number) for number in range(1, branch_turn)]
        rows = [(*shared, *(dataclasses.replace(draw(turns), number=n) for n in range(branch_turn, length + 1))) for _ in range(size)]
        made.append(Group(Chart(f"c/{index}", RENDER, "", ""), None, branch_turn, tuple(Trajectory(row, row[-1].reward.total) for row in rows)))
    return made


def same_program(one, other):
    return one == other


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 2).flatmap(lambda branch: st.tuples(groups(branch_turn=branch), groups(branch_turn=branch))))
def test_metrics_of_two_halves_merged_are_those_of_the_whole(halves):
    one, other = (rollout_metrics(half, same_program) + advantage_metrics(np.array([group.rewards for group in half])) for half in halves)
    whole = [*halves[0], *halves[1]]
    expected = (rollout_metrics(whole, same_program) + advantage_metrics(np.array([group.rewards for group in whole]))).values()
    assert (one + other).values() == pytest.approx(expected, abs=1e-12)
    carried = json.loads(json.dumps([dataclasses.asdict(one), dataclasses.asdict(other)]))  # as it goes from process to process
    first, second = (Tally(**{**each, "spreads": {name: Spread(**value) for name, value in each["spreads"].items()}}) for each in carried)
    assert (first + second).values() == pytest.approx(expected, abs=1e-12)


def test_a_process_without_groups_adds_nothing():
    group = [Group(Chart("c", RENDER, "", ""), None, 1, (Trajectory((turn_of(1, 0.5),), 0.5),) * 2)]
    whole = rollout_metrics(group, same_program) + advantage_metrics(np.array([[1.0, -1.0]]))
    nothing = rollout_metrics([], same_program) + advantage_metrics(np.zeros((0, 2)))
    assert nothing.values() == {"sampling/tokens": 0.0} and (nothing + whole).values() == whole.values()


def test_reward_parts_and_lengths_stand_turn_by_turn():
    shared = turn_of(1, 0.5, tokens=4)
    rows = [(shared, turn_of(2, 1.0, tokens=6)), (shared, turn_of(2, 0.25, tokens=10)), (shared, turn_of(2, 0.9, Status.error, tokens=8))]
    values = rollout_metrics([Group(Chart("c", RENDER, "", ""), None, 2, tuple(Trajectory(row, row[-1].reward.total) for row in rows))], same_program).values()
    assert values["turn1/rule"] == values["turn1/total"] == 0.5 and values["turn2/total"] == pytest.approx(1.25 / 3) and values["turn2/format"] == 1.0
    assert values["turn1/response_tokens"] == values["turn1/response_tokens_max"] == 4.0
    assert values["turn2/response_tokens"] == 8.0 and values["turn2/response_tokens_max"] == 10.0
    assert values["correction/rewarded"] == pytest.approx(1 / 3) and values["correction/degrade_rate"] == pytest.approx(2 / 3)
    assert values["sampling/tokens"] == 28.0 and values["turn2/low_level"] == pytest.approx(100 * 1.25 / 3)


def test_the_spread_of_the_judge_is_that_of_renders_it_was_shown():
    def spread(*rows):
        group = Group(Chart("c", RENDER, "", ""), None, 1, tuple(Trajectory((row,), row.reward.total) for row in rows))
        return rollout_metrics([group], same_program).values().get("judge/spread")

    assert spread(turn_of(1, 0.5, judgement=Judgement(0.2)), turn_of(1, 0.5, judgement=Judgement(0.6))) == pytest.approx(0.2)
    failing = turn_of(1, 0.5, Status.error, Judgement(0.0))
    assert spread(*[turn_of(1, 0.5, judgement=Judgement(0.37))] * 2, turn_of(1, 0.1, judgement=Judgement(0.37)), failing) == 0.0
    assert spread(turn_of(1, 0.5, judgement=Judgement(0.4)), failing, turn_of(1, 0.5, judgement=failed(FailureKind.timeout, "no"))) is None


def test_advantages_have_a_spread_and_a_largest():
    values = advantage_metrics(np.array([[1.0, -1.0], [0.0, 0.0]])).values()
    assert values == {"advantage/std": pytest.approx(np.sqrt(0.5)), "advantage/max_abs": 1.0}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.floats(-1e3, 1e3), max_size=4), max_size=4))
def test_a_spread_merged_from_pieces_is_the_standard_deviation(pieces):
    merged, flat = sum((Spread.of(piece) for piece in pieces), Spread.of([])), [value for piece in pieces for value in piece]
    assert merged.count == len(flat)
    if flat:
        assert merged.std == pytest.approx(np.std(flat), abs=1e-6) and Tally(means={"a": mean(flat)}).values()["a"] == pytest.approx(np.mean(flat))
