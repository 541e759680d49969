"""MSRL's textual reward: one for the golden chart, less for more damage, nothing for text that is not drawn."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from recoder_jax.charts.elements import Elements
from recoder_jax.charts.execution import Execution, Status, failure
from recoder_jax.rewards.alignment import MAX_TEXTS, common_in_any_order, common_in_order, text_similarity
from recoder_jax.rewards.textual import PARTS, TextualOptions, data_of, textual_score

HEAD = 'import matplotlib.pyplot as plt\nimport numpy as np\n'
CRASHED = failure(Status.error, 'ValueError')
NUMBERS = st.one_of(st.integers(-50, 50).map(float), st.floats(-1e6, 1e6))
SERIES = st.lists(NUMBERS, min_size=1, max_size=8)
ELEMENTS = st.builds(
    lambda texts, cells, types, data: Elements.from_json({
        'texts': texts, 'layout': cells, 'chart_types': [list(item) for item in types.items()], 'colors': [],
        'data': [[name, 'y', values] for name, values in data if name in types]}),
    st.lists(st.text('abc ', max_size=6), max_size=5), st.lists(st.lists(st.integers(0, 2), min_size=6, max_size=6), max_size=3),
    st.dictionaries(st.sampled_from(['bar', 'plot', 'heatmap']), st.integers(1, 3), max_size=3),
    st.lists(st.tuples(st.sampled_from(['bar', 'plot']), SERIES), max_size=4))
OPTIONS = st.builds(TextualOptions, *[st.floats(0.1, 3)] * 4, order=st.sampled_from(['kept', 'free']))


def seen(elements):
    return Execution(Status.ok, np.zeros((2, 2, 3), np.uint8), elements, '', 0.0)


def values_of(score):
    return [getattr(score, name) for name in PARTS]


@settings(max_examples=150, deadline=None)
@given(ELEMENTS, OPTIONS)
def test_a_chart_agrees_with_itself(elements, options):
    score = textual_score(seen(elements), seen(elements), options=options)
    assert score.total == pytest.approx(1) and all(value in (1, None) for value in values_of(score))
    assert (score.data is None) == (not elements.data)


@settings(max_examples=200, deadline=None)
@given(ELEMENTS, ELEMENTS, OPTIONS)
def test_scores_lie_in_their_range_and_hardly_mind_the_order_of_charts(a, b, options):
    forward, backward = textual_score(seen(a), seen(b), options=options), textual_score(seen(b), seen(a), options=options)
    assert all(0 <= value <= 1 for value in (forward.total, *values_of(forward)) if value is not None)
    assert values_of(forward)[:3] == pytest.approx(values_of(backward)[:3])
    if {name for name, _, _ in a.data} == {name for name, _ in a.chart_types} and {name for name, _, _ in b.data} == {name for name, _ in b.chart_types}:
        if a.data and b.data:
            assert forward.data == pytest.approx(backward.data)


@settings(max_examples=200, deadline=None)
@given(SERIES, SERIES, st.floats(0, 0.5))
def test_what_series_have_in_common_is_symmetric_and_grows_with_freedom(a, b, tolerance):
    for count in (common_in_order, common_in_any_order):
        (value,), = count([a], [b], tolerance)
        assert value == count([b], [a], tolerance)[0, 0] <= min(len(a), len(b)) and count([a], [a], tolerance)[0, 0] == len(a)
        assert value <= count([a], [b], tolerance + 0.2)[0, 0]
    assert common_in_order([a], [b], tolerance)[0, 0] <= common_in_any_order([a], [b], tolerance)[0, 0]


def test_order_matters_where_it_is_kept():
    assert common_in_order([[1, 2, 3, 4]], [[4, 1, 2, 3]], 0.05).item() == 3 and common_in_any_order([[1, 2, 3, 4]], [[4, 1, 2, 3]], 0.05).item() == 4
    assert common_in_order([[100, 0, -100]], [[104, 1e-9, -95.1]], 0.05).item() == 3 and common_in_order([[100.0]], [[94.0]], 0.05).item() == 0
    assert common_in_order([[1], [2, 3]], [[2.0], [2, 3, 9], [7, 7]], 0.0).tolist() == [[0, 0, 0], [1, 2, 0]]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.text(max_size=12), min_size=1, max_size=4), st.lists(st.text(max_size=12), min_size=1, max_size=4))
def test_edit_distances_are_those_of_the_textbook(left, right):
    def distance(a, b):
        row = list(range(len(b) + 1))
        for i, x in enumerate(a):
            new = [i + 1]
            for j, y in enumerate(b):
                new.append(min(new[j] + 1, row[j + 1] + 1, row[j] + (x != y)))
            row = new
        return row[-1]

    expected = [[1 - distance(a, b) / max(len(a), len(b), 1) for b in right] for a in left]
    assert np.allclose(text_similarity(left, right), expected)


def test_too_many_texts_are_refused_and_a_figure_of_many_is_scored_in_bounded_time():
    with pytest.raises(ValueError, match='give at most'):
        text_similarity(['a'] * (MAX_TEXTS + 1), ['a'])
    a, b = (Elements(tuple(f'{side} {n} ' * 20 for n in range(500)), (), (), (), tuple(('plot', 'y', tuple(np.arange(256.0) + n + (side == 'b') / 2)) for n in range(60)))
            for side in 'ab')
    score = textual_score(seen(a), seen(b))
    assert 0 < score.texts < 0.2 and 0 < score.data < 0.5


GOLDEN = 'plt.bar(["a", "b", "c", "d"], [30, 14, 55, 41]); plt.title("Sales of fruit"); plt.xlabel("Fruit")'
VARIANTS = {
    'title': ['plt.title("Sales of fruit 1")', 'plt.title("Sales of nuts")', 'plt.title("Growth")', 'plt.title("Growth"); plt.text(1, 9, "note")'],
    'data': ['[30, 14, 55, 50]', '[30, 14, 90, 50]', '[30, 77, 90, 50]', '[9, 77, 90, 50]'],
}
OTHERS = {
    'golden': GOLDEN, 'near': GOLDEN.replace('30', '31'), 'line': GOLDEN.replace('plt.bar', 'plt.plot'), 'loop': 'for name, v in zip("abcd", [30, 14, 55, 41]): '
    'plt.bar(name, v, color="C0")\nplt.title("Sales of fruit"); plt.xlabel("Fruit")', 'computed': GOLDEN.replace('[30, 14, 55, 41]', 'np.array([3, 1.4, 5.5, 4.1]) * 10'),
    'blank': 'plt.figure()', 'sub': 'plt.subplot(1, 2, 1)\n' + GOLDEN, 'permuted': GOLDEN.replace('[30, 14, 55, 41]', '[41, 30, 14, 55]'),
    'comment': '# plt.title("Sales of fruit")\nplt.bar([0, 1, 2], [1, 2, 3])',
    'dead': 'if False:\n    ' + GOLDEN + '\nplt.bar([0, 1, 2], [1, 2, 3])',
    'hidden': GOLDEN + '\nplt.gca().set_visible(False)\nplt.gcf().add_axes([0.1, 0.1, 0.8, 0.8]).bar([0, 1], [1, 2])',
    'heat': 'plt.imshow([[1, 2], [3, 4]])', 'heat one wrong': 'plt.imshow(np.array([[1, 2], [3, 9]]))', 'heat random': 'plt.imshow(np.random.rand(2, 2))',
    'heat cleared': 'plt.imshow([[1, 2], [3, 4]]); plt.gca().clear(); plt.imshow([[7, 1], [1, 1]])',
    'heat dead': 'if False: plt.imshow([[1, 2], [3, 4]])\nplt.imshow([[7, 1], [1, 1]])',
    'polar': 'ax = plt.subplot(projection="polar"); ax.plot([1, 2], [3, 4])', 'polar wrong': 'ax = plt.subplot(projection="polar"); ax.plot([1, 2], [3, 8])',
}


@pytest.fixture(scope='module')
def score(sandbox):
    programs = OTHERS | {f'title {n}': GOLDEN.replace('plt.title("Sales of fruit")', text) for n, text in enumerate(VARIANTS['title'])}
    programs |= {f'data {n}': GOLDEN.replace('[30, 14, 55, 41]', text) for n, text in enumerate(VARIANTS['data'])}
    executions = dict(zip(programs, sandbox.execute_all([HEAD + program for program in programs.values()]), strict=True))
    assert all(execution.replayed for execution in executions.values())

    def compare(generated, golden='golden', **options):
        return textual_score(executions[generated], executions[golden], (HEAD + programs[generated], HEAD + programs[golden]), TextualOptions(**options))

    return compare


@pytest.mark.parametrize(('kind', 'part'), [('title', 'texts'), ('data', 'data')])
def test_more_damage_means_less(kind, part, score):
    found = [score('golden')] + [score(f'{kind} {n}') for n in range(4)]
    values = [getattr(one, part) for one in found]
    assert values[0] == 1 and all(more < less for less, more in zip(values, values[1:], strict=False)), values
    assert all(getattr(one, name) == 1 for one in found for name in PARTS if name != part)


def test_parts_see_what_they_are_named_after(score):
    assert score('near').total == 1 and score('near', tolerance=0.01).data == 0.75
    assert score('computed').total == 1 and score('loop').data == 1
    line, sub = score('line'), score('sub')
    assert (line.chart_types, line.layout, line.texts, line.data) == (0, 1, 1, 1)
    assert sub.layout == 0 and sub.chart_types == sub.texts == sub.data == 1
    assert score('permuted').data == 0.75 and score('permuted', order='free').data == 1


@pytest.mark.parametrize('trick', ['comment', 'dead', 'hidden'])
def test_text_that_is_not_drawn_earns_nothing(trick, score):
    found = score(trick)
    assert found.texts == 0 and found.data == 0


def test_values_that_drawing_does_not_show_are_read_from_the_text_of_calls_that_were_drawn(score):
    assert score('heat', 'heat').data == 1 and score('heat one wrong', 'heat').data == 0.75
    assert score('heat random', 'heat').data == score('heat dead', 'heat').data == score('heat cleared', 'heat').data == 0
    assert score('heat', 'heat random').data is None and score('golden', 'heat random').data is None
    assert score('polar', 'polar').data == 1 and score('polar wrong', 'polar').data == 0.75


def test_programs_without_a_figure_and_goldens_without_content(score):
    empty = seen(Elements((), (), (), ()))
    golden = seen(Elements(('a',), ((1, 1, 0, 0, 0, 0),), (('bar', 1),), (), (('bar', 'y', (1.0, 2.0)),)))
    assert dataclasses.astuple(textual_score(CRASHED, golden)) == (0, 0, 0, 0, 0)
    assert dataclasses.astuple(textual_score(empty, golden)) == (0, 0, 0, 0, 0)
    assert dataclasses.astuple(textual_score(empty, empty)) == (1, 1, 1, 1, None)
    assert dataclasses.astuple(textual_score(golden, empty)) == (0, 0, 0, 0, None)
    assert textual_score(empty, empty, options=TextualOptions(0, 0, 0, 1)).total == 0          # nothing left to weigh
    with pytest.raises(ValueError, match='golden program gave no figure'):
        textual_score(golden, CRASHED)
    assert score('golden', 'blank').total == 0 and score('blank', 'blank').total == 1


def test_a_chart_of_more_series_than_are_paired_agrees_with_itself():
    many = Elements((), (), (('plot', 64),), (), tuple(('plot', axis, (float(i), i + 1.0)) for i in range(64) for axis in 'xy'))
    assert textual_score(seen(many), seen(many)).data == 1.0


def test_counts_by_hand():
    golden = seen(Elements(('a', 'b', 'c'), ((1, 2, 0, 0, 0, 0), (1, 2, 0, 0, 1, 1)), (('bar', 1),), (), (('bar', 'y', (1.0, 2.0, 3.0)),)))
    other = seen(Elements(('a',), ((1, 2, 0, 0, 0, 0),), (('bar', 2), ('plot', 1)), (), (('bar', 'y', (1.0,)), ('plot', 'y', (7.0, 2.05)))))
    assert values_of(textual_score(other, golden)) == pytest.approx([2 / 4, 2 / 3, 2 / 4, 2 * 1 / 6])      # one series a side is paired


def test_the_total_is_the_mean_by_the_inner_weights():
    golden = seen(Elements(('a',), ((1, 1, 0, 0, 0, 0),), (('bar', 1),), (), (('bar', 'y', (1.0, 2.0)),)))
    other = seen(dataclasses.replace(golden.elements, data=(('bar', 'y', (1.0, 9.0)),), texts=('b',)))
    assert textual_score(other, golden, options=TextualOptions(1, 2, 3, 4)).total == pytest.approx((1 + 2 + 0 + 4 * 0.5) / 10)
    unread = seen(dataclasses.replace(golden.elements, data=()))
    assert textual_score(other, unread, options=TextualOptions(1, 2, 3, 4)).total == pytest.approx((1 + 2) / 6)


@pytest.mark.parametrize(('options', 'words'), [
    ({'texts': -1.0}, 'from 0'), ({name: 0.0 for name in PARTS}, 'one of them above 0'), ({'data': float('nan')}, 'from 0'), ({'tolerance': 1.0}, 'below 1'),
    ({'tolerance': float('nan')}, 'below 1'), ({'order': 'any'}, 'kept or free')])
def test_options_without_sense_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        TextualOptions(**options)


@settings(max_examples=100, deadline=None)
@given(ELEMENTS, st.text(max_size=60))
def test_the_text_of_a_program_never_raises_and_never_replaces_what_was_drawn(elements, program):
    drawn = {name for name, _, _ in elements.data}
    found = data_of(elements, program)
    assert {name: sorted(series) for name, series in found.items() if name in drawn} == {
        name: sorted(values for kind, _, values in elements.data if kind == name) for name in drawn}
