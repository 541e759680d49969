"""Playing the tree: shared turns are shared, feedback is appended, and learning sees exactly what was sampled."""

import dataclasses
import threading
from concurrent.futures import Future

import numpy as np
import pytest

from recoder_jax.charts.chart import Chart
from recoder_jax.charts.execution import Status, failure
from recoder_jax.charts.goldens import Goldens
from recoder_jax.charts.scores import same_program
from recoder_jax.dialogue.difference import difference
from recoder_jax.dialogue.encoder import Tokens
from recoder_jax.dialogue.response import block_is_closed
from recoder_jax.dialogue.turns import Prompts
from recoder_jax.learning.batch import Shape, pack, token_weights
from recoder_jax.rewards.judge import Judgement
from recoder_jax.rewards.mixture import Mixture, Ramp
from recoder_jax.rollout.measure import alarms, dialogue_records, not_finite, rollout_metrics
from recoder_jax.rollout.host import Speaker
from recoder_jax.rollout.play import Place, Plan, Player, Slots, room_of
from recoder_jax.runs.records import DialogueRecord
from recoder_jax.sampling.functions import Sampler
from recoder_jax.sampling.layout import Buckets
from tests.conftest import image_of

GOLDEN = "import matplotlib.pyplot as plt\nplt.figure(figsize=(0.56, 0.56))\nplt.plot([1, 2], color='red')\nplt.title('a')\n"
PLAN = Plan(turns=3, branch_turn=2, group=3, response_tokens=20, feedback_tokens=96, temperature=1.0)


@pytest.fixture(scope="module")
def player(policy, sandbox):
    sampler = Sampler(policy.graphdef, policy.config, policy.encoder, Buckets(tokens=32))
    return Player(sampler, policy.encoder, sandbox, Mixture(0.9, 0.0), Prompts(), slots=Slots(places=2, lanes=2, chunk=8))


def charts(count):
    return [Chart(f"chart/{i}", image_of(i), GOLDEN, "line") for i in range(count)]


@pytest.fixture(scope="module")
def groups(policy, player):
    return player.play(policy.params, charts(2), PLAN, seed=0, step=5)[0]


def test_turns_before_the_branch_turn_are_sampled_once(groups):
    for group in groups:
        first = {id(trajectory.turns[0]) for trajectory in group.trajectories}
        second = {trajectory.turns[1].tokens.tobytes() for trajectory in group.trajectories}
        assert len(first) == 1 and len(second) == PLAN.group
        assert [len(trajectory.turns) for trajectory in group.trajectories] == [3] * PLAN.group


def test_learning_sees_the_sampled_tokens_and_trains_turns_from_the_branch_on(groups):
    for group in groups:
        tree = group.tree([1.0, -1.0, 0.5])
        assert not tree.prefix.trained.any()
        for trajectory, suffix in zip(group.trajectories, tree.suffixes, strict=True):
            sampled = np.concatenate([turn.tokens for turn in trajectory.turns[1:]])
            np.testing.assert_array_equal(suffix.ids[suffix.trained], sampled)
            np.testing.assert_array_equal(suffix.logprobs[suffix.trained], np.concatenate([t.logprobs for t in trajectory.turns[1:]]))


def test_a_cut_response_is_closed_by_the_feedback_and_the_end_is_not_trained(policy, groups):
    end = policy.encoder.end_id
    turns = [turn for group in groups for t in group.trajectories for turn in t.turns if turn.feedback is not None]
    assert any(not turn.ended for turn in turns)
    for turn in turns:
        assert (turn.feedback.ids[0] == end) == (not turn.ended)
        assert (turn.tokens[-1] == end) == turn.ended


def test_a_rollout_is_a_function_of_seed_and_step(policy, player, groups):
    again = player.play(policy.params, charts(2), PLAN, seed=0, step=5)[0]
    other = player.play(policy.params, charts(2), PLAN, seed=0, step=6)[0]
    said = [[turn.tokens.tolist() for t in group.trajectories for turn in t.turns] for group in groups]
    assert said == [[turn.tokens.tolist() for t in group.trajectories for turn in t.turns] for group in again]
    assert said != [[turn.tokens.tolist() for t in group.trajectories for turn in t.turns] for group in other]


def test_golden_programs_are_executed_once(policy, player, groups):
    assert list(player.goldens) == [GOLDEN] and player.goldens[GOLDEN].ok


def test_golden_executions_outlive_the_run_and_damage_is_repaired(sandbox, tmp_path):
    golden = sandbox.execute(GOLDEN)
    Goldens(tmp_path)[GOLDEN] = golden
    again = Goldens(tmp_path)
    assert GOLDEN in again and again[GOLDEN].ok and again[GOLDEN].elements == golden.elements
    next(tmp_path.rglob("*.json")).write_text("{")
    assert GOLDEN not in Goldens(tmp_path)
    failed = sandbox.execute("raise ValueError")
    Goldens(tmp_path)["raise ValueError"] = failed
    assert "raise ValueError" not in Goldens(tmp_path)


def test_a_group_fits_the_packed_batch(policy, groups):
    trees = [group.tree([0.5, -0.5, 0.0]) for group in groups]
    size = max(tree.size for tree in trees)
    batch = pack(trees, token_weights(trees, "sequence_mean"), Shape(1, 2, size), policy.config.image_id)
    trained = sum(int(s.trained.sum()) for tree in trees for s in tree.suffixes)
    assert int((batch.weight > 0).sum()) == trained
    assert float(batch.weight.sum()) == pytest.approx(1.0, rel=1e-5)


def test_metrics_and_records_cover_every_turn(groups, tmp_path):
    metrics = rollout_metrics(groups, same_program).values()
    assert {f"turn{t}/{name}" for t in (1, 2, 3) for name in ("executed", "low_level")} <= metrics.keys()
    records = dialogue_records(groups, np.ones((2, 3)), 6, lambda image: "render.png")
    assert len(records) == 6
    assert [turn.shared for turn in records[0].turns] == [True, False, False]
    assert [turn.advantage for turn in records[0].turns] == [None, 1.0, 1.0]


def test_ends_of_programs_are_counted_and_signs_of_tampering_raise_an_alarm(groups):
    metrics = rollout_metrics(groups, same_program).values()
    assert sum(share for name, share in metrics.items() if name.startswith("sandbox/") and name != "sandbox/tampered") == pytest.approx(1)
    assert metrics["sandbox/tampered"] == 0 and alarms(groups) == []
    first, *others = groups[0].trajectories
    turn = first.turns[1]
    touched = dataclasses.replace(turn, execution=dataclasses.replace(turn.execution, tampered="Text.draw was replaced"))
    changed = dataclasses.replace(first, turns=(first.turns[0], touched, *first.turns[2:]))
    suspect = [dataclasses.replace(groups[0], trajectories=(changed, *others)), *groups[1:]]
    turns = 2 * (1 + 2 * PLAN.group)
    assert rollout_metrics(suspect, same_program).values()["sandbox/tampered"] == pytest.approx(1 / turns)
    assert alarms(suspect) == [
        f"1 of {turns} programs show signs of tampering with the sandbox, the first for chart/0 in turn 2: "
        "Text.draw was replaced; look at its dialogue"
    ]


def test_long_error_logs_are_cut_to_the_feedback_cap(player, groups):
    execution = groups[0].trajectories[0].turns[0].execution
    failed = dataclasses.replace(execution, log="ValueError: " + "x" * 1000, render=None)
    response = dataclasses.replace(groups[0].trajectories[0].turns[0].response, program="x")
    speaker = Speaker(player.encoder, player.prompts, 3, 60)
    assert len(speaker.feedback(failed, response, True, image_of(0))) <= 60
    with pytest.raises(ValueError, match="raise rollout.feedback_tokens"):
        Speaker(player.encoder, player.prompts, 3, 5).feedback(failed, response, True, image_of(0))


class Saying:
    """An encoder that hears one response in whatever was sampled."""

    def __init__(self, encoder, text):
        self._encoder, self._text = encoder, text

    def __getattr__(self, name):
        return getattr(self._encoder, name)

    def decode(self, ids):
        return self._text


def test_one_turn_is_a_dialogue_like_any_other(policy, player):
    """MSRL's shape: the policy answers once, and its answers compete."""
    plan = dataclasses.replace(PLAN, turns=1, branch_turn=1)
    told = f"<think>a</think>\n```python\n{GOLDEN}```"
    msrl = Mixture(0.0, 0.0, textual=2 / 3, executed=1 / 3)
    single = dataclasses.replace(player, encoder=Saying(policy.encoder, told), reward=msrl)
    groups, _ = single.play(policy.params, charts(2), plan, seed=0, step=0)
    for group in groups:
        assert group.rewards == [pytest.approx(1.0)] * plan.group and all(len(t.turns) == 1 and t.turns[0].feedback is None for t in group.trajectories)
        tree = group.tree([1.0, -1.0, 0.5])
        assert not tree.prefix.trained.any() and all(suffix.trained.all() for suffix in tree.suffixes)
        assert [len(suffix.ids) for suffix in tree.suffixes] == [len(t.turns[0].tokens) for t in group.trajectories]
    metrics = rollout_metrics(groups, same_program).values()
    assert metrics["reward/textual"] == metrics["reward/executed"] == metrics["textual/texts"] == 1.0 and metrics["turn1/executed"] == 1.0
    assert not [name for name in metrics if name.startswith(("correction/", "turn2/"))]
    records = dialogue_records(groups, np.zeros((2, 3)), 1, lambda image: "x")
    assert [len(record.turns) for record in records] == [1] * 6 and records[0].turns[0].parts["textual"] == 1.0 and not records[0].turns[0].shared


def test_a_program_that_many_responses_hold_runs_once(policy, player):
    plan = dataclasses.replace(PLAN, turns=1, branch_turn=1)
    alike = dataclasses.replace(player, encoder=Saying(policy.encoder, f"<think>a</think>\n```python\n{GOLDEN}```"), reward=None)
    groups, times = alike.play(policy.params, charts(2), plan, seed=0, step=0)
    executions = [turn.execution for group in groups for t in group.trajectories for turn in t.turns]
    assert times.programs == 1 and len(executions) == 2 * plan.group and all(one is executions[0] for one in executions) and executions[0].ok
    nothing = dataclasses.replace(alike, encoder=Saying(policy.encoder, "no program"))
    assert nothing.play(policy.params, charts(2), plan, seed=0, step=0)[1].programs == 2 * plan.group


class Fencing(Saying):
    """An encoder that hears backticks and line ends in some tokens, so that every response closes a block somewhere."""

    def decode(self, ids):
        return "<think>a</think>\n```python\n" + "".join({0: "\n```", 1: "\n"}.get(int(token) % 3, "x") for token in ids)


def test_charts_branch_at_each_turn_in_rotation_and_say_what_they_say_where_all_branch_there(policy, player, groups):
    """A dialogue that branches at turn 2 is that of a rollout in which all charts branch there; the next step branches a chart elsewhere."""
    each = dataclasses.replace(PLAN, branch_turn=1, branching="each")
    rotated = player.play(policy.params, charts(2), each, seed=0, step=5)[0]
    assert [group.branch_turn for group in rotated] == [2, 3]
    assert [each.branch_turn_of(step, chart, 2) for step in (6, 7) for chart in (0, 1)] == [1, 2, 3, 1]
    said = [[[[turn.tokens.tolist() for turn in t.turns] for t in group.trajectories] for group in played] for played in (groups, rotated)]
    assert said[0][0] == said[1][0] and said[0][1] != said[1][1]
    for group in rotated:
        trained = [sum(len(turn.tokens) for turn in t.turns[group.branch_turn - 1 :]) for t in group.trajectories]
        assert [int(suffix.trained.sum()) for suffix in group.tree([1.0, -1.0, 0.0]).suffixes] == trained
    records = dialogue_records(rotated, np.ones((2, 3)), 6, lambda image: "x")
    assert [[turn.shared for turn in record.turns] for record in records[::3]] == [[True, False, False], [True, True, False]]
    assert rollout_metrics(rotated, same_program).values()["sampling/tokens"] == sum(len(t.tokens) for t in {id(t): t for g in rotated for x in g.trajectories for t in x.turns}.values())


def test_the_room_and_the_longest_tree_are_those_of_every_branch_turn(player):
    each = dataclasses.replace(PLAN, branch_turn=1, branching="each")
    alone = [dataclasses.replace(each, branching="one", branch_turn=turn) for turn in each.branch_turns]
    rooms = [room_of(player.sampler, player.slots, plan, 100, 4) for plan in alone]
    whole = room_of(player.sampler, player.slots, each, 100, 4)
    for name in ("places", "rows", "prefix", "suffix", "shared_slots", "lanes", "chunk"):
        assert getattr(whole, name) == max(getattr(room, name) for room in rooms)
    for suffixes in (1, 2, 8):
        assert each.longest_tree(100, suffixes) == max(plan.longest_tree(100, suffixes) for plan in alone)


def test_difference_follows_every_render_and_the_record_shows_it(policy, player):
    """In shared turns and in a row's own; what feedback shows is what is trained on and what the viewer shows."""
    told = f"<think>a</think>\n```python\n{GOLDEN}```"
    plan = dataclasses.replace(PLAN, difference=True)
    shows = dataclasses.replace(player, encoder=Saying(policy.encoder, told), reward=None)
    group = shows.play(policy.params, charts(2), plan, seed=0, step=0)[0][1]
    for trajectory in group.trajectories:
        assert [turn.compared for turn in trajectory.turns] == [True, True, False]
        for turn in trajectory.turns[:2]:
            expected = policy.encoder.processor(difference(turn.execution.render, group.chart.image))
            assert turn.feedback.images[1].key == expected.key != turn.feedback.images[0].key
    tree = group.tree([1.0, -1.0, 0.0])
    assert [len(tree.prefix.images), len(tree.suffixes[0].images)] == [3, 2]
    stored = []
    records = dialogue_records([group], None, 0, lambda image: stored.append(image) or str(len(stored)))
    assert all([bool(turn.difference) for turn in record.turns] == [True, True, False] for record in records)
    assert DialogueRecord.from_json(records[0].to_json()) == records[0]
    with pytest.raises(ValueError, match="rollout.feedback_tokens is 60; raise it"):
        shows.play(policy.params, charts(1), dataclasses.replace(plan, feedback_tokens=60), seed=0, step=0)


def test_the_judge_of_a_ramp_joins_in_both_turns_of_a_dialogue(policy, player):
    """Weights of every turn are those of the step; nobody is asked while the judge has no weight."""
    asked = []

    class Half:
        def submit(self, reference, render, fresh=False):
            asked.append(render)
            future = Future()
            future.set_result(Judgement(0.5))
            return future

    told = f"<think>a</think>\n```python\n{GOLDEN}```"
    plan = dataclasses.replace(PLAN, turns=2, branch_turn=1)
    ramped = Mixture(0.4, 0.6, judge=Half(), ramp=Ramp(4, alpha=1.0))
    for step, beta in ((0, 0.0), (3, 0.45), (9, 0.6)):
        asked.clear()
        rising = dataclasses.replace(player, encoder=Saying(policy.encoder, told), reward=ramped.at(step))
        groups = rising.play(policy.params, charts(2), plan, seed=0, step=step)[0]
        totals = [turn.reward.total for group in groups for t in group.trajectories for turn in t.turns]
        assert totals == pytest.approx([1 - beta / 2] * 12) and groups[0].rewards == pytest.approx([1 - beta / 2] * 3)
        assert len(asked) == (12 if beta else 0)


def test_a_response_is_cut_where_its_block_is_closed_whatever_the_chunk(policy, player):
    """In shared turns and in a row's own, with feedback behind the cut."""
    encoder, played = Fencing(policy.encoder, ""), []
    for chunk in (1, 20):
        plan = dataclasses.replace(PLAN, stop_at_fence=True)
        fenced = dataclasses.replace(player, encoder=encoder, slots=Slots(places=1, lanes=1, chunk=chunk), reward=None)
        groups, _ = fenced.play(policy.params, charts(2), plan, seed=0, step=0)
        played.append([[turn.tokens.tolist() for turn in t.turns] for group in groups for t in group.trajectories])
    assert played[0] == played[1]
    lengths = set()
    for tokens in (tokens for turns in played[0] for tokens in turns):
        closed = [n for n in range(1, len(tokens) + 1) if block_is_closed(encoder.decode(tokens[:n]))]
        assert closed[:1] in ([], [len(tokens)])
        lengths.add(len(tokens))
    assert len(lengths) > 1


def test_a_slow_program_delays_its_own_row_only(policy, player, sandbox):
    """One program waits until every other dialogue has ended; without rows of its own kind in between, nothing else would go on."""
    held, others = [], threading.Event()

    class Holding:
        workers = sandbox.workers

        def submit(self, program):
            future = Future()
            if not held:
                held.append(future)
                threading.Thread(target=lambda: (others.wait(60), future.set_result(failure(Status.timeout, "slow")))).start()
            else:
                future.set_result(failure(Status.error, "quick"))
            return future

    left = []

    def done():
        left.append(1)
        if len(left) == 3:
            others.set()

    slow = dataclasses.replace(player, sandbox=Holding(), reward=None)
    groups, times = slow.play(policy.params, charts(4), dataclasses.replace(PLAN, turns=2, branch_turn=1), seed=0, step=0, done=done)
    assert others.is_set() and [group.chart.id for group in groups] == [f"chart/{i}" for i in range(4)]
    statuses = [turn.execution.status for group in groups for t in group.trajectories for turn in t.turns]
    assert statuses.count(Status.timeout) == 1 and times.programs == 4 * 3 * 2


def test_a_failure_on_a_host_thread_ends_the_rollout_with_its_error(policy, player):
    class Broken:
        workers = 1

        def submit(self, program):
            raise RuntimeError("the sandbox is gone")

    with pytest.raises(RuntimeError, match="the sandbox is gone"):
        dataclasses.replace(player, sandbox=Broken(), reward=None).play(policy.params, charts(1), PLAN, seed=0, step=0)


def test_branch_turn_beyond_the_turns_is_refused():
    with pytest.raises(ValueError, match="must lie in 1..2"):
        dataclasses.replace(PLAN, turns=2, branch_turn=3)


def test_mixture_weighs_its_parts_and_survives_a_silent_judge(sandbox, groups):
    golden = sandbox.execute(GOLDEN)
    response = dataclasses.replace(groups[0].trajectories[0].turns[0].response, well_formed=True)
    judged = Mixture(0.5, 0.3, judge=object())
    assert judged(response, golden, golden, Judgement(0.5)).total == pytest.approx(0.2 + 0.5 + 0.3 * 0.5)
    assert judged(response, golden, golden, Judgement(None, failure="no answer")).total == pytest.approx(1.0)
    assert judged(response, golden, golden, Judgement(None, failure="no answer")).part("model") is None
    with pytest.raises(ValueError, match="their sum <= 1"):
        Mixture(0.8, 0.3)
    with pytest.raises(ValueError, match="there is no judge"):
        Mixture(0.5, 0.3)


def test_a_reward_that_is_not_finite_is_named_by_part_chart_and_turn(groups):
    assert not_finite(groups) is None
    group = groups[1]
    last = group.trajectories[1].turns[-1]
    scored = tuple(dataclasses.replace(part, score=float("nan")) if part.name == "rule" else part for part in last.reward.scored)
    turns = (*group.trajectories[1].turns[:-1], dataclasses.replace(last, reward=dataclasses.replace(last.reward, total=float("nan"), scored=scored)))
    broken = dataclasses.replace(group.trajectories[1], turns=turns, reward=float("nan"))
    spoilt = dataclasses.replace(group, trajectories=(group.trajectories[0], broken, *group.trajectories[2:]))
    assert not_finite([groups[0], spoilt]) == f"reward part rule of chart {group.chart.id} in turn {last.number} is nan"
    whole = dataclasses.replace(group, trajectories=(dataclasses.replace(group.trajectories[0], reward=float("inf")),))
    assert not_finite([whole]) == f"the reward of chart {group.chart.id} is inf"


def test_pieces_join():
    assert len(Tokens(np.arange(3)) + Tokens(np.arange(2))) == 5


def test_what_a_chart_says_depends_on_its_number_not_on_who_is_played_with_it(policy, player):
    whole = player.play(policy.params, charts(3), PLAN, 0, 5)[0]
    alone = player.play(policy.params, charts(3)[2:], PLAN, 0, 5, place=Place([2], 3, 3))[0]
    said = [[[turn.tokens.tolist() for turn in t.turns] for t in group.trajectories] for group in (whole[2], alone[0])]
    assert said[0] == said[1]


def test_renders_are_looked_at_beside_a_judge_and_every_turn_is_scored(policy, player):
    """Whether the judge or the look answers first."""
    class Late:
        def __init__(self, pause, answer):
            self.pause, self.answer = pause, answer

        def submit(self, target, render, fresh=False):
            future = Future()
            threading.Timer(self.pause, future.set_result, [self.answer]).start()
            return future

    told = f"<think>a</think>\n```python\n{GOLDEN}```"
    plan = dataclasses.replace(PLAN, turns=2, branch_turn=1)
    for judge, look in ((0.02, 0.0), (0.0, 0.02)):
        reward = Mixture(0.0, 0.4, judge=Late(judge, Judgement(0.5)), visual=0.6, observer=Late(look, 0.25))
        seeing = dataclasses.replace(player, encoder=Saying(policy.encoder, told), reward=reward)
        groups = seeing.play(policy.params, charts(2), plan, seed=0, step=0)[0]
        assert [turn.reward.total for group in groups for t in group.trajectories for turn in t.turns] == pytest.approx([0.35] * 12)
