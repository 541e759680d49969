"""Every reward part lies in [0, 1] and means what it says; a part that could not be had is never a silent 0."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra.numpy import arrays

from recoder_jax.charts.chart import Chart
from recoder_jax.charts.elements import Elements
from recoder_jax.charts.execution import Execution, Status, failure
from recoder_jax.configuration import load
from recoder_jax.dialogue.response import parse_response
from recoder_jax.factory import mixture_of
from recoder_jax.learning.objective import group_advantages
from recoder_jax.rewards.judge import ITEMS, FailureKind, Judgement
from recoder_jax.rewards.judgement import failed
from recoder_jax.rewards.mixture import ON_MISSING, Mixture, PartScore, Ramp, total
from recoder_jax.rewards.parts import PARTS
from recoder_jax.rewards.similarity import similarity
from recoder_jax.rewards.textual import ORDERS, TextualOptions
from recoder_jax.rollout.measure import reward_metrics, without_incomplete
from recoder_jax.rollout.play import Plan, Player
from recoder_jax.validation import CHOICES
from recoder_jax.rollout.trajectory import Group, Trajectory, Turn
from recoder_jax.sampling.places import Request
from tests.fault_server import GOOD, MIDDLING, judge_of

GOOD_RESPONSE = parse_response('<think>a</think>\n```python\nx\n```')
BARE_RESPONSE = parse_response('x')
LOST = failed(FailureKind.timeout, 'no answer')


def chart(values=(30, 50, 20, 60), color=(31, 119, 180), size=(120, 160), text=True) -> np.ndarray:
    """Bars on white with axes and, for a text, small strokes."""
    image = np.full((*size, 3), 255, np.uint8)
    image[10:105, 20:22] = image[103:105, 20:150] = 0
    for n, value in enumerate(values):
        image[103 - value:103, 30 + 30 * n:50 + 30 * n] = color
    if text:
        image[2:8, 60:100:3] = 0
    return image


def execution_of(render, texts=('a',)) -> Execution:
    elements = Elements.from_json({'texts': list(texts), 'layout': [[1, 1, 0, 0, 0, 0]], 'chart_types': [['bar', 1]], 'colors': [['bar', '#1F77B4']], 'data': []})
    return Execution(Status.ok, render, elements, '', 0.0)


TARGET = chart()
GOLDEN = execution_of(TARGET)
CRASHED = failure(Status.error, 'ValueError')
ALL = Mixture(0.3, 0.25, judge=object(), similarity=0.2, textual=0.1, executed=0.05)


def test_the_total_is_the_weighted_sum_of_the_named_parts():
    reward = ALL(GOOD_RESPONSE, GOLDEN, GOLDEN, Judgement(0.5), TARGET)
    assert reward.total == pytest.approx(0.1 + 0.3 + 0.25 * 0.5 + 0.2 + 0.1 + 0.05) and reward.missing == ()
    assert {part.name: part.weight for part in reward.scored} == pytest.approx(
        {'format': 0.1, 'rule': 0.3, 'model': 0.25, 'similarity': 0.2, 'textual': 0.1, 'executed': 0.05})
    assert reward.parts().items() >= {'total': reward.total, 'format': 1.0, 'rule': 1.0, 'model': 0.5, 'similarity': 1.0, 'textual': 1.0,
                                      'executed': 1.0, 'textual/texts': 1.0, 'textual/layout': 1.0, 'textual/chart_types': 1.0}.items()
    assert 'textual/data' not in reward.parts()      # the golden chart has no series that can be read


def test_every_part_is_one_for_the_golden_program_and_zero_or_format_for_one_that_fails():
    perfect = ALL(GOOD_RESPONSE, GOLDEN, GOLDEN, Judgement(1.0), TARGET)
    assert perfect.total == pytest.approx(1.0) and all(perfect.part(name) == 1.0 for name in PARTS if ALL.weights[name])
    crashed = ALL(GOOD_RESPONSE, CRASHED, GOLDEN, Judgement(0.0), TARGET)
    assert crashed.total == pytest.approx(0.1) and [crashed.part(name) for name in PARTS if ALL.weights[name]] == [1.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    assert ALL(BARE_RESPONSE, CRASHED, GOLDEN, Judgement(0.0), TARGET).total == 0


def test_parts_without_weight_are_not_computed_but_format_and_rule_are_shown():
    reward = Mixture(1.0, 0.0)(BARE_RESPONSE, GOLDEN, GOLDEN)
    assert [part.name for part in reward.scored] == ['format', 'rule'] and reward.total == 1.0 and reward.part('similarity') is None


def test_without_a_golden_figure_the_reward_is_zero_and_nothing_is_missing():
    reward = ALL(GOOD_RESPONSE, GOLDEN, CRASHED, LOST, TARGET)
    assert reward.total == 0 and reward.missing == () and reward.parts()['rule'] == 0


@pytest.mark.parametrize(('on_missing', 'value'), [('renormalise', (0.1 + 0.4) / 0.7), ('drop_group', (0.1 + 0.4) / 0.7), ('zero', 0.5)])
def test_a_part_that_is_missing_means_what_the_config_says(on_missing, value):
    mixture = Mixture(0.4, 0.3, judge=object(), similarity=0.2, on_missing=on_missing)
    reward = mixture(GOOD_RESPONSE, execution_of(np.full_like(TARGET, 255)), GOLDEN, LOST, TARGET)
    assert reward.total == pytest.approx(value) and reward.missing == ('model',)
    assert 'model' not in reward.parts() and reward.items() == {}
    assert reward_metrics([reward]).values()['reward/unjudged'] == 1.0      # never silent


def test_choices_of_the_config_are_those_of_the_mixture():
    assert CHOICES['reward.on_missing'] == ON_MISSING
    config = load('configs/tiny/stage1_shared_first_turn.py',
                  ['--config.reward.alpha=0.5', '--config.reward.similarity=0.25', '--config.reward.on_missing=zero'])
    assert mixture_of(config, None) == Mixture(0.5, 0.0, None, 0.25, 'zero')
    assert CHOICES['reward.textual_order'] == ORDERS
    config = load('configs/tiny/msrl_ramp.py', ['--config.reward.textual_texts=3', '--config.reward.textual_order=free', '--config.reward.textual_tolerance=0.1'])
    third = 0.5 / 1.5
    assert mixture_of(config, None) == Mixture(
        0.0, 0.0, None, third, textual=third, executed=third, textual_options=TextualOptions(texts=3.0, tolerance=0.1, order='free'),
        ramp=Ramp(12, textual=2 * third, executed=third))


@pytest.mark.parametrize(('stage', 'weights'), [
    ('stage1', (1, 0, 0.5)), ('stage2', (0.5, 0.5, 0.5)), ('single_stage', (0.5, 0.5, 0.5)), ('ramp', (0.5, 0.5, 0.5))])
def test_recipes_of_msrl_hold_the_weights_of_the_paper(stage, weights):
    large = load(f'configs/msrl_{stage}.py', ['--config.judge.base_url=http://localhost:8000/v1'])
    small = load(f'configs/tiny/msrl_{stage}.py')
    for config, visual in ((large, 'beta'), (small, 'similarity')):
        assert [1.5 * config.reward[name] for name in ('textual', visual, 'executed')] == pytest.approx(list(weights)) and config.reward.alpha == 0
        assert (config.rollout.turns, config.rollout.branch_turn, config.data.keep) == (1, 1, 'flat')
        assert (config.reward.ramp_steps > 0) == (stage == 'ramp')
    if stage == 'ramp':
        for config in (large, small):
            start, end = config.steps // 2, mixture_of(config, object())
            assert end.at(0).weights['textual'] == pytest.approx(1 / 1.5) and end.at(0).weights['executed'] == pytest.approx(0.5 / 1.5)
            assert config.reward.ramp_steps == start and end.at(start).weights == end.weights != end.at(start - 1).weights
    assert large.steps == {'stage1': 22_000, 'stage2': 11_000}.get(stage, 33_000) // 128


@pytest.mark.parametrize(('override', 'words'), [
    ('--config.reward.similarity=0.2', 'whose sum is at most 1'),
    ('--config.reward.on_missing=skip', 'choose renormalise, drop_group or zero'),
    ('--config.reward.alpha=0.0 --config.reward.beta=1.0 --config.judge.base_url=http://a/v1', 'reward.beta is 1'),
    ('--config.reward.textual=0.2', 'whose sum is at most 1'),
    ('--config.reward.ramp_steps=4 --config.reward.ramp_textual=0.7 --config.reward.ramp_executed=0.5', 'reward.ramp_attributes is 1.2'),
    ('--config.reward.ramp_textual=0.7', 'reward.ramp_textual is set but reward.ramp_steps is 0'),
    ('--config.reward.ramp_steps=4 --config.reward.ramp_beta=0.7', 'reward.ramp_beta is 0.7 but judge.base_url is empty'),
    ('--config.reward.textual_order=any', 'choose kept or free'),
    ('--config.reward.textual_tolerance=1.0', 'from 0 to below 1'),
    (' '.join(f'--config.reward.textual_{name}=0' for name in ('chart_types', 'layout', 'texts', 'data')), 'are all 0'),
    ('--config.judge.base_url=http://a/v1,b', 'not a URL'),
    ('--config.judge.base_url=http://me:sk-secret@a/v1', 'holds a user, a password or a query'),
])
def test_configs_that_contradict_themselves_are_refused(override, words):
    with pytest.raises(ValueError, match=words) as caught:
        load('configs/tiny/stage1_shared_first_turn.py', override.split())
    assert 'sk-secret' not in str(caught.value)


@pytest.mark.parametrize(('arguments', 'words'), [
    ({'alpha': 0.8, 'beta': 0.3}, 'their sum <= 1'), ({'alpha': 0.8, 'beta': 0.0, 'similarity': 0.3}, 'their sum <= 1'),
    ({'alpha': -0.1, 'beta': 0.0}, '>= 0'), ({'alpha': float('nan'), 'beta': 0.0}, 'sum'), ({'alpha': 0.5, 'beta': 0.3}, 'there is no judge'),
    ({'alpha': 0.5, 'beta': 0.0, 'textual': 0.3, 'executed': 0.3}, 'their sum <= 1'), ({'alpha': 0.5, 'beta': 0.0, 'ramp': Ramp(3, beta=0.2)}, 'no judge'),
    ({'alpha': 0.5, 'beta': 0.0, 'ramp': Ramp(3, textual=0.8, executed=0.3)}, 'their sum <= 1'),
    ({'alpha': 0.0, 'beta': 1.0, 'judge': object()}, 'nothing to rescale'), ({'alpha': 0.5, 'beta': 0.0, 'on_missing': 'skip'}, 'on_missing')])
def test_mixtures_without_sense_are_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        Mixture(**arguments)


def test_the_similarity_part_asks_for_its_target():
    with pytest.raises(ValueError, match='give the mixture the target'):
        Mixture(0.5, 0.0, similarity=0.5)(GOOD_RESPONSE, GOLDEN, GOLDEN)


def msrl(textual, visual, executed, **more):
    """R = wt * textual + wv * visual + we * executed of the paper, divided by the sum of the weights."""
    whole = textual + visual + executed
    return Mixture(0.0, visual / whole, judge=object() if visual else None, textual=textual / whole, executed=executed / whole, **more)


def test_msrl_is_a_choice_of_weights():
    judged, lost = Judgement(0.4), LOST
    reward = msrl(0.5, 0.5, 0.5)(BARE_RESPONSE, GOLDEN, GOLDEN, judged, TARGET)
    assert reward.total == pytest.approx((0.5 + 0.5 * 0.4 + 0.5) / 1.5) and reward.part('format') == 0 and msrl(0.5, 0.5, 0.5).weights['format'] == 0
    assert msrl(1, 0, 0.5)(BARE_RESPONSE, GOLDEN, GOLDEN).total == pytest.approx(1.0)
    other = execution_of(TARGET, texts=('b',))
    assert msrl(1, 0, 0.5)(BARE_RESPONSE, other, GOLDEN).total == pytest.approx((2 / 3 + 0.5) / 1.5)
    assert msrl(0.5, 0.5, 0.5)(BARE_RESPONSE, GOLDEN, GOLDEN, lost).total == pytest.approx(1.0)      # renormalised
    assert msrl(1, 0, 0.5)(BARE_RESPONSE, CRASHED, GOLDEN).total == 0


def test_the_textual_part_sees_the_programs_of_both_sides():
    heat = dataclasses.replace(GOLDEN, elements=dataclasses.replace(GOLDEN.elements, chart_types=(('heatmap', 1),)))
    right, wrong = (parse_response(f'```python\nimport matplotlib.pyplot as plt\nplt.imshow([[1, {n}]])\n```') for n in (2, 9))
    rewards = [msrl(1, 0, 0.5)(response, heat, heat, program=right.program) for response in (right, wrong)]
    assert [reward.parts()['textual/data'] for reward in rewards] == [1.0, 0.5]


@given(st.integers(0, 40))
def test_a_ramp_moves_the_weights_linearly_and_is_a_function_of_the_step(step):
    ramp = Ramp(12, textual=2 / 3, executed=1 / 3)
    mixture = msrl(0.5, 0.5, 0.5, ramp=ramp)
    at, share = mixture.at(step), min(1, step / 12)
    assert at.ramp is None and at == mixture.at(step) and at.at(step + 5) == at
    unused = dict.fromkeys(('visual', 'language', 'attributes'), 0)
    assert at.weights == pytest.approx(unused | {'format': 0, 'rule': 0, 'model': share / 3, 'similarity': 0, 'textual': (2 - share) / 3, 'executed': 1 / 3})
    assert (step < 12) or at.weights == msrl(0.5, 0.5, 0.5).weights      # to the bit
    assert (at.ask(TARGET, GOLDEN) is None) if step == 0 else at.beta > 0


SCORES = st.none() | st.floats(0, 1)


@given(st.lists(st.tuples(st.floats(0, 1), SCORES), min_size=1, max_size=6), st.sampled_from(ON_MISSING))
def test_the_total_stays_in_its_range_whatever_is_missing(parts, on_missing):
    whole = max(1.0, sum(weight for weight, _ in parts))
    value = total([PartScore('x', weight / whole, score) for weight, score in parts], on_missing)
    assert 0 <= value <= 1 + 1e-9


def test_items_of_the_judge_become_metrics_in_shares_of_their_points():
    with judge_of(GOOD, MIDDLING, 500, attempts=1, structured=False, concurrency=1) as (judge, _):
        mixture = Mixture(0.5, 0.4, judge)
        executions = [execution_of(chart((n, 5, 5, 5))) for n in range(3)] + [CRASHED]
        judgements = []
        for execution in executions:
            judgements.append(mixture.ask(TARGET, execution).result())
        metrics = reward_metrics([mixture(GOOD_RESPONSE, e, GOLDEN, j) for e, j in zip(executions, judgements)]).values()
    assert metrics['reward/model'] == pytest.approx(1.5 / 3) and metrics['reward/unjudged'] == 0.25 and metrics['judge/failed_broken'] == 0.25
    assert {f'judge/{item.name}' for item in ITEMS} <= metrics.keys() and metrics['judge/data'] == pytest.approx(1.5 / 3)
    assert metrics['judge/cached'] == 0.0


def group_of(rewards, complete):
    trajectories = tuple(Trajectory((), reward, whole) for reward, whole in zip(rewards, complete))
    return Group(Chart('c', TARGET, '', ''), None, 1, trajectories)


def test_a_group_that_lacks_a_part_carries_no_advantage_and_is_counted():
    groups = [group_of([0.1, 0.9], [True, True]), group_of([0.2, 0.8], [True, False])]
    advantages = np.asarray(group_advantages(np.array([group.rewards for group in groups])))
    kept, dropped = without_incomplete(groups, advantages)
    assert np.array_equal(kept[0], advantages[0]) and not kept[1].any() and advantages[1].any()
    assert dropped.values() == {'reward/dropped_groups': 0.5}


@pytest.mark.parametrize(('gamma', 'eta', 'complete'), [(0.0, 0.0, True), (0.1, 0.0, False), (0.0, 0.1, False)])
def test_a_missing_part_matters_in_the_turns_that_count(gamma, eta, complete):
    mixture = Mixture(0.4, 0.3, judge=object())
    lost, had = (mixture(GOOD_RESPONSE, GOLDEN, GOLDEN, judgement) for judgement in (LOST, Judgement(0.5)))
    turns = [Turn(n + 1, (), None, True, GOOD_RESPONSE, GOLDEN, reward, None) for n, reward in enumerate((lost, had))]
    plan = Plan(turns=2, branch_turn=2, group=2, response_tokens=1, feedback_tokens=1, temperature=1.0, gamma=gamma, eta=eta)
    said = {(0, row, number): turn for row, own in enumerate([turns, [turns[0], turns[0]]]) for number, turn in enumerate(own, start=1)}
    group = Player._group(None, Chart('c', TARGET, '', ''), Request(None, (0, 0, 0), 1, rows=2, shared=1), said, plan)
    assert [trajectory.complete for trajectory in group.trajectories] == [complete, False]


def test_the_target_is_one_and_a_page_of_one_colour_is_zero():
    assert similarity(TARGET, TARGET.copy()) == 1.0
    assert [similarity(TARGET, np.full_like(TARGET, level)) for level in (255, 128, 0)] == [0.0] * 3
    assert similarity(TARGET, None) == 0.0


def damaged(kind, strength):
    if kind == 'colour':
        return chart(color=tuple(np.array([31, 119, 180]) + np.array([50, -25, -40]) * strength))
    if kind == 'data':
        return chart((30 + 8 * strength, 50 - 8 * strength, 20 + 10 * strength, 60 - 8 * strength))
    if kind == 'fade':
        return (TARGET + (255.0 - TARGET) * strength / 4.5).astype(np.uint8)
    if kind == 'missing':
        return np.where(np.arange(160)[None, :, None] > 150 - 35 * strength, 255, TARGET).astype(np.uint8)
    if kind == 'shift':
        return np.roll(TARGET, 3 * strength, axis=1)
    if kind == 'aspect':
        return np.repeat(TARGET, strength + 1, axis=1)
    if kind == 'noise':
        noise = np.random.default_rng(0).normal(0, 1, TARGET.shape)
        return np.clip(TARGET + 25 * strength * noise, 0, 255).astype(np.uint8)
    clutter = TARGET.copy()
    clutter[15:15 + 18 * strength:6, 30:140:2] = 0
    return clutter


@pytest.mark.parametrize('kind', ['colour', 'data', 'fade', 'missing', 'shift', 'aspect', 'noise', 'clutter'])
def test_more_damage_means_less_similarity(kind):
    values = [similarity(TARGET, damaged(kind, strength)) for strength in range(5)]
    assert values[0] == pytest.approx(1.0) and all(more < less for less, more in zip(values, values[1:])), values


def test_a_page_filled_with_a_colour_of_the_target_earns_next_to_nothing():
    filled = np.full_like(TARGET, (31, 119, 180))
    filled[0, 0] = 255
    assert similarity(TARGET, filled) < 0.1 < similarity(TARGET, chart((60, 20, 50, 30), (214, 39, 40)))


def test_the_size_of_a_render_with_the_same_aspect_hardly_counts():
    assert similarity(TARGET, np.repeat(np.repeat(TARGET, 3, axis=0), 3, axis=1)) > 0.99


@pytest.mark.parametrize('shape', [(1, 1), (1, 4000), (4000, 1), (2, 3), (20_000, 300), (0, 5), (5, 0)])
def test_similarity_is_defined_for_any_sizes(shape):
    other = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    assert 0 <= similarity(TARGET, other) < 0.5 and 0 <= similarity(other, TARGET) < 1
    assert similarity(other, other) == (1.0 if other.size else 0.0)


def test_a_target_without_ink_is_met_by_its_colour_alone():
    page = np.full((30, 40, 3), 200, np.uint8)
    assert similarity(page, page[:5]) == 1.0 and similarity(page, page - 1) == 0.0 and similarity(page, TARGET) == 0.0


IMAGES = arrays(np.uint8, st.tuples(st.integers(0, 9), st.integers(0, 9), st.just(3)), elements=st.integers(0, 255))


@settings(deadline=None, max_examples=60)
@given(IMAGES, IMAGES)
def test_similarity_stays_in_its_range_and_never_warns(target, render):
    assert 0 <= similarity(target, render) <= 1
    assert similarity(target, target) == pytest.approx(1.0 if target.size else 0.0)


@pytest.mark.parametrize('wrong', [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), 'x'])
def test_arrays_of_another_form_are_refused(wrong):
    with pytest.raises(ValueError, match='give uint8'):
        similarity(wrong, TARGET)
    with pytest.raises(ValueError, match='give uint8'):
        similarity(TARGET, wrong)


SIZES = [(1, 1), (1, 3_000), (20_000, 20_000)]


@pytest.mark.parametrize('size', SIZES, ids=str)
def test_a_render_of_any_size_has_a_defined_reward(size):
    """A page of one colour, and a page with one stripe of ink."""
    row = np.full((1, size[1], 3), 255, np.uint8)
    with judge_of(MIDDLING, structured=False) as (judge, _):
        mixture = Mixture(0.2, 0.2, judge, similarity=0.2, textual=0.2, executed=0.1)
        for ink in (False, True):
            row[:, :max(1, size[1] // 3)] = 0 if ink else 255
            execution = execution_of(np.broadcast_to(row, (*size, 3)))      # takes the memory of one row
            judgement = mixture.ask(TARGET, execution).result()
            reward = mixture(GOOD_RESPONSE, execution, GOLDEN, judgement, TARGET)
            drawn = ink and size != (1, 1)
            assert judgement.score == (0.5 if drawn else 0.0) and 0 <= reward.part('similarity') < 0.2 and reward.missing == ()
            assert reward.total == pytest.approx(0.1 + 0.2 + 0.2 * judgement.score + 0.2 * reward.part('similarity') + 0.2 + 0.1)


@pytest.mark.parametrize('text', ['', ' ', '```python\n```', '<think></think>', '```python\n\n```', '\0', '```'])
def test_an_empty_response_earns_nothing(text):
    response = parse_response(text)
    assert response.program in (None, '') and not response.well_formed
    reward = ALL(response, CRASHED, GOLDEN, Judgement(0.0), TARGET)
    assert reward.total == 0 and reward.missing == () and all(reward.part(name) == 0 for name in PARTS if ALL.weights[name])


@pytest.mark.parametrize('kept', [set(), {'texts'}, {'colors'}, {'data'}, {'layout', 'chart_types'}], ids=lambda kept: '+'.join(sorted(kept)) or 'nothing')
def test_a_golden_chart_that_lacks_content_has_a_defined_reward(kept):
    full = Elements(('a',), ((1, 1, 0, 0, 0, 0),), (('bar', 1),), (('bar', '#1F77B4'),), (('bar', 'y', (1.0, 2.0)),))
    golden, other = (dataclasses.replace(full, **{name: () for name in vars(full) if (name in kept) != wanted}) for wanted in (True, False))
    lacking, generated = (dataclasses.replace(GOLDEN, elements=elements) for elements in (golden, other))
    same, against = ALL(GOOD_RESPONSE, lacking, lacking, Judgement(1.0), TARGET), ALL(GOOD_RESPONSE, generated, lacking, Judgement(1.0), TARGET)
    assert same.total == pytest.approx(1.0) and same.part('rule') == same.part('textual') == 1.0
    assert 0 <= against.part('textual') <= 0.25 and 0 <= against.part('rule') <= 0.25 and against.missing == ()
