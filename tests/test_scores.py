"""Promises of the rule score and of program equality."""

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recoder_jax.charts.elements import MAX_COLORS, MAX_TEXTS, Elements
from recoder_jax.charts.execution import Execution, Status, failure
from recoder_jax.charts.sandbox import Sandbox
from recoder_jax.charts.scores import rule_score, same_program

HEAD = 'import matplotlib.pyplot as plt\nimport numpy as np\n'
EMPTY = Elements((), (), (), ())


def execution(elements):
    return Execution(Status.ok, np.zeros((2, 2, 3), np.uint8), elements, '', 0.0)


def measures(score):
    return score.text, score.layout, score.chart_type, score.color


names = st.sampled_from(['bar', 'plot', 'scatter_polar', 'imshow'])
shades = st.one_of(st.sampled_from(['viridis', 'hot']), st.integers(0, 0xFFFFFF).map('#{:06X}'.format))
figures = st.builds(
    lambda texts, layout, types, colors: Elements.from_json({
        'texts': texts, 'layout': layout, 'chart_types': [list(item) for item in types.items()],
        'colors': [list(item) for item in colors]}),
    st.lists(st.sampled_from('abcd'), max_size=6),
    st.lists(st.lists(st.integers(0, 2), min_size=6, max_size=6), max_size=4),
    st.dictionaries(names, st.integers(1, 4), max_size=3),
    st.lists(st.tuples(names, shades), max_size=8))


@settings(max_examples=150, deadline=None)
@given(figures)
def test_a_figure_scores_one_against_itself(elements):
    score = rule_score(execution(elements), execution(elements))
    assert measures(score) == (1, 1, 1, 1) and score.low_level == 1 and score.executed


@settings(max_examples=150, deadline=None)
@given(figures, figures)
def test_scores_are_symmetric_and_within_zero_and_one(a, b):
    forward, backward = rule_score(execution(a), execution(b)), rule_score(execution(b), execution(a))
    assert measures(forward) == pytest.approx(measures(backward), abs=1e-9)
    assert all(0 <= value <= 1 for value in measures(forward))


@settings(max_examples=100, deadline=None)
@given(figures, st.data())
def test_scores_fall_when_an_element_is_removed(elements, data):
    name = data.draw(st.sampled_from(['texts', 'layout', 'chart_types', 'colors']))
    values = getattr(elements, name)
    if values:
        index = data.draw(st.integers(0, len(values) - 1))
        less = dataclasses.replace(elements, **{name: values[:index] + values[index + 1:]})
        assert rule_score(execution(less), execution(elements)).low_level < 1


@settings(max_examples=60, deadline=None)
@given(st.lists(shades, min_size=1, max_size=4, unique=True), st.lists(shades, min_size=1, max_size=4, unique=True))
def test_colour_assignment_equals_the_best_permutation(a, b):
    from recoder_jax.charts.colour import color_similarity
    short, long = sorted([a, b], key=len)
    best = max(sum(color_similarity([one], [other])[0, 0] for one, other in zip(short, chosen))
               for chosen in itertools.permutations(long, len(short)))
    one, other = (dataclasses.replace(EMPTY, colors=tuple(sorted(('bar', color) for color in side))) for side in (a, b))
    assert rule_score(execution(one), execution(other)).color == pytest.approx(2 * best / (len(a) + len(b)), abs=1e-9)


def test_empty_sides():
    one = Elements(('a',), ((1, 1, 0, 0, 0, 0),), (('bar', 1),), (('bar', '#000000'),))
    assert measures(rule_score(execution(EMPTY), execution(EMPTY))) == (1, 1, 1, 1)
    assert measures(rule_score(execution(one), execution(EMPTY))) == (0, 0, 0, 0)
    assert measures(rule_score(execution(EMPTY), execution(one))) == (0, 0, 0, 0)


def test_a_failed_program_scores_zero_and_a_failed_golden_one_is_refused():
    failed = failure(Status.error, 'ValueError: no')
    score = rule_score(failed, execution(EMPTY))
    assert not score.executed and score.low_level == 0
    with pytest.raises(ValueError, match='golden program gave no figure .error: ValueError: no'):
        rule_score(execution(EMPTY), failed)
    with pytest.raises(ValueError, match="mode 'strict' is unknown"):
        rule_score(failed, execution(EMPTY), 'strict')


def test_counts_by_hand():
    generated = Elements(('a', 'a', 'b'), ((1, 2, 0, 0, 0, 0),), (('bar', 2), ('plot', 1)),
                         (('bar', '#FF0000'), ('plot', '#FE0000')))
    golden = Elements(('a', 'b', 'c'), ((1, 2, 0, 0, 0, 0), (1, 2, 0, 0, 1, 1)), (('bar', 1),), (('bar', '#FE0000'),))
    score = rule_score(execution(generated), execution(golden))
    assert measures(score) == pytest.approx((2 * 2 / 6, 2 / 3, 2 * 1 / 4, 2 * 0.997921 / 3), abs=1e-6)


@pytest.mark.parametrize('change', [
    {'texts': ['x' * 501]}, {'texts': ['x'] * (MAX_TEXTS + 1)}, {'texts': 'abc'}, {'texts': [1]},
    {'layout': [[1, 2, 3]]}, {'layout': [[True] * 6]}, {'layout': [[10**9] * 6]}, {'chart_types': [['bar', 0]]},
    {'chart_types': [['bar', 1], ['bar', 2]]}, {'chart_types': [['bar', 1.5]]}, {'colors': [['bar', '#12345G']]},
    {'colors': [['bar', '#000000']] * (MAX_COLORS + 1)}, {'colors': [['bar']]}, {'more': []}])
def test_elements_over_a_cap_or_of_another_form_are_refused(change):
    with pytest.raises(ValueError, match='elements'):
        Elements.from_json(EMPTY.to_json() | change)
    with pytest.raises(ValueError):
        Elements.from_json(None)


# What each program is seen as: chart types, and a colour or None.
SEEN = {
    'm = plt.pcolormesh(np.eye(3), cmap="hot"); plt.colorbar(m, label="l"); m.set_clim(0, 9)':
        ({'pcolormesh', 'colorbar'}, ('pcolormesh', 'hot')),
    'plt.hexbin(np.arange(9.), np.arange(9.)); plt.hist2d(np.arange(9.), np.arange(9.))':
        ({'hexbin', 'hist2d'}, ('hist2d', 'viridis')),
    'plt.stem([1, 2]); plt.step([1, 2], [1, 2]); plt.semilogy([1, 2])': ({'stem', 'step', 'plot'}, None),
    'plt.hist([1, 2, 3], color="teal")': ({'hist'}, ('hist', '#008080')),
    'plt.pie([1, 2], colors=["r", "lime"])': ({'pie'}, ('pie', '#00FF00')),
    'plt.boxplot([[1, 2, 3]], patch_artist=True, boxprops={"facecolor": "gold"})': ({'boxplot'}, ('boxplot', '#FFD700')),
    'plt.subplot(projection="polar").plot([1, 2], [1, 2], "k")': ({'plot_polar'}, ('plot_polar', '#000000')),
    'plt.subplot(projection="3d").plot_trisurf([0, 1, 0], [0, 0, 1], [1, 2, 3], cmap="hot")':
        ({'plot_trisurf_3d'}, ('plot_trisurf_3d', 'hot')),
    'plt.stackplot([1, 2], [1, 2], colors=["b"]); plt.streamplot(*np.mgrid[:3, :3][::-1], np.eye(3), np.eye(3))':
        ({'stackplot', 'streamplot'}, ('stackplot', '#0000FF')),
    'plt.gca().add_patch(plt.Circle((0, 0), 1, color="r"))': ({'Circle'}, ('Circle', '#FF0000')),
    'plt.plot([1], "b"); plt.cla(); plt.bar([1], [1], color="r")': ({'bar'}, ('bar', '#FF0000')),
    'p, = plt.plot([1, 2]); p.remove(); b = plt.bar([1], [1]); b[0].set_color("r")': ({'bar'}, ('bar', '#FF0000')),
    'plt.figure(); plt.plot([1]); plt.figure(); plt.bar([1], [1])': ({'bar'}, None),
    'try: plt.plot([1, 2], [1, 2, 3])\nexcept ValueError: plt.bar([1], [1])': ({'bar'}, None),
    'plt.plot([1, 2], "o", mfc="r")': ({'plot'}, ('plot', '#FF0000')),
}


@pytest.fixture(scope='module')
def sandbox():
    with Sandbox(workers=2) as pool:
        yield pool


def test_every_chart_type_is_seen_and_scores_one_against_itself(sandbox):
    executions = sandbox.execute_all([HEAD + program for program in SEEN])
    for (program, (types, color)), one in zip(SEEN.items(), executions):
        assert one.ok, (program, one.log)
        assert {name for name, _ in one.elements.chart_types} == types, program
        assert color is None or color in one.elements.colors, (program, one.elements.colors)
        assert rule_score(one, one).low_level == 1


def test_texts_are_those_drawn_without_ticks(sandbox):
    drawn = sandbox.execute(HEAD + 'fig, ax = plt.subplots()\nax.plot([1e7, 2e7], label="series")\nax.legend()\n'
                            'ax.set_title("title"); fig.suptitle("above"); ax.text(1, 1, "hidden", visible=False)\n'
                            'ax.set_xticks([0, 1], ["tick", "tick"]); ax.annotate("note", (0, 1e7)); ax.set_ylabel(" ")')
    assert drawn.elements.texts == ('above', 'note', 'series', 'title')


def test_tick_labels_of_axisartist_are_no_texts(sandbox):
    drawn = sandbox.execute(HEAD + 'import mpl_toolkits.axisartist as a\n'
                            'ax = plt.figure().add_subplot(axes_class=a.Axes); ax.set_title("t"); ax.set_xlabel("x")')
    assert drawn.elements.texts == ('t', 'x')


def test_layout_sees_grids_and_free_axes(sandbox):
    grid, free = sandbox.execute_all([
        HEAD + 'plt.subplots(1, 2)',
        HEAD + 'f = plt.figure(); f.add_axes([0.1, 0.1, 0.4, 0.8]); f.add_axes([0.6, 0.1, 0.3, 0.8])'])
    assert grid.elements.layout == ((1, 2, 0, 0, 0, 0), (1, 2, 0, 0, 1, 1))
    assert free.elements.layout == ((0, 0, 2, 10, 2, 18), (0, 0, 12, 18, 2, 18))
    assert rule_score(free, free).layout == 1 and rule_score(free, grid).layout == 0


@pytest.mark.parametrize('a, b, same', [
    ('x = 1', 'x=(1)  # one', True), ('x = "a"', "x = 'a'", True), ('x = 1', 'x = 2', False),
    ('"""doc"""\ndef f():\n    "doc"\n    return 1', 'def f():\n    return 1', True),
    ('x = 1\n\n', 'x = 1', True), ('x = (', 'x = (  \n', True), ('x = (', 'y = (', False), ('', '', True),
    ('a\0', 'a\0', True), ('x = "\\d"', 'x = "\\\\d"', True), ('-' * 20_000 + '1', '-' * 20_000 + '1', True)])
def test_same_program_means_the_same_syntax_tree(a, b, same):
    assert same_program(a, b) is same and same_program(b, a) is same


def test_thousands_of_labels_are_matched():
    many = Elements(tuple(f't{i:05d}' for i in range(MAX_TEXTS)), (), (),
                    tuple(('bar', f'#{i * 61:06X}') for i in range(MAX_COLORS)))
    assert rule_score(execution(many), execution(many)).low_level == 1
