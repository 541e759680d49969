"""Promises of the rule score, of Plot2Code's measures, of kept golden executions and of program equality."""

import dataclasses
import itertools
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recoder_jax.charts import goldens
from recoder_jax.charts.chartmimic import ChartMimicElements
from recoder_jax.charts.elements import MAX_COLORS, MAX_TEXTS, Elements
from recoder_jax.charts.execution import Execution, Status, failure
from recoder_jax.charts.goldens import Goldens
from recoder_jax.charts.plot2code import pass_rate, text_match
from recoder_jax.charts.scores import MODES, rule_score, same_program

HEAD = 'import matplotlib.pyplot as plt\nimport numpy as np\n'
EMPTY = Elements((), (), (), ())


def execution(elements):
    chartmimic = ChartMimicElements(elements.texts, elements.layout, elements.chart_types, elements.colors)
    return Execution(Status.ok, np.zeros((2, 2, 3), np.uint8), elements, '', 0.0, chartmimic)


def measures(score):
    return score.text, score.layout, score.chart_type, score.color


names = st.sampled_from(['bar', 'plot', 'scatter_polar', 'imshow'])
shades = st.one_of(st.sampled_from(['viridis', 'hot']), st.integers(0, 0xFFFFFF).map('#{:06X}'.format))
figures = st.builds(
    lambda texts, layout, types, colors: Elements.from_json({
        'texts': texts, 'layout': layout, 'chart_types': [list(item) for item in types.items()],
        'colors': [list(item) for item in colors], 'data': []}),
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
@given(figures, figures, st.sampled_from(MODES))
def test_scores_are_symmetric_and_within_zero_and_one(a, b, mode):
    forward, backward = (rule_score(execution(a), execution(b), mode), rule_score(execution(b), execution(a), mode))
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
        fallen = [value < 1 for value in measures(rule_score(execution(less), execution(elements)))]
        assert fallen == [one == name for one in ('texts', 'layout', 'chart_types', 'colors')]


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
    unnoted = dataclasses.replace(execution(EMPTY), chartmimic=None)
    assert rule_score(unnoted, execution(EMPTY), 'chartmimic').low_level == 0
    with pytest.raises(ValueError, match='no ChartMimic elements'):
        rule_score(execution(EMPTY), unnoted, 'chartmimic')


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
    'm = plt.pcolormesh(np.eye(3), cmap="hot"); plt.colorbar(m, label="l"); m.set_clim(0, 1.2)':
        ({'heatmap', 'colorbar'}, ('heatmap', 'hot')),
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
    ('x = y = 1', 'x = z = 1', False), ('f(a, b=1)', "f(\n    a,\n    b=1,\n)", True), ('x = 1.0', 'x = 1', False),
    ('import a, b', 'import b, a', False), ("x = 'it' 's'", 'x = "its"', True), ("x = u'a'", 'x = "a"', True), ('x = 0x10', 'x = 16', True),
    ('a\0', 'a\0', True), ('x = "\\d"', 'x = "\\\\d"', True), ('-' * 20_000 + '1', '-' * 20_000 + '1', True)])
def test_same_program_means_the_same_syntax_tree(a, b, same):
    assert same_program(a, b) is same and same_program(b, a) is same


def test_thousands_of_labels_are_matched():
    many = Elements(tuple(f't{i:05d}' for i in range(MAX_TEXTS)), (), (),
                    tuple(('bar', f'#{i * 61:06X}') for i in range(MAX_COLORS)))
    assert rule_score(execution(many), execution(many)).low_level == 1


SCORED = '''
from tests.test_scores import Elements, MODES, execution, rule_score
sides = [Elements(tuple(f't{i % (5 + k)}' for i in range(40)), ((1, 1 + k, 0, 0, 0, 0),), (('bar', 1 + k), ('plot', 2)),
                  tuple(sorted({(name, f'#{(i * 99991 + k * 7) % 2**24:06X}') for i in range(60) for name in ('bar', 'plot')})))
         for k in range(3)]
print([rule_score(execution(a), execution(b), mode) for a in sides for b in sides for mode in MODES])
'''


def test_scores_are_the_same_in_every_process_and_for_every_hash_seed():
    printed = {subprocess.run([sys.executable, '-c', SCORED], env=os.environ | {'PYTHONHASHSEED': seed}, check=True,
                              capture_output=True, text=True).stdout for seed in ('0', '1', '2')}
    assert len(printed) == 1 and 'RuleScore' in printed.pop()


def placed(*texts, size=(6.0, 4.0)):
    return ChartMimicElements((), (), (), (), tuple(texts), size)


@pytest.mark.parametrize('generated, golden, expected', [
    (placed(), placed(), 1), (placed(('a', 0, 0)), placed(), 0), (placed(('a', 0, 0)), placed(('a', 13, 18)), 1),
    (placed(('a', 0, 0)), placed(('a', 14, 18)), 0), (placed(('a', 0, 0)), placed(('b', 0, 0)), 0),
    (placed(('a', 0, 0), ('a', 1, 1), ('b', 0, 0)), placed(('a', 0, 0), ('c', 0, 0)), 1 / 4),
    (placed(('a', 300, 200), size=(3.0, 2.0)), placed(('a', 600, 400)), 1),
    (placed(('a', 20, 0), ('a', 0, 0)), placed(('a', 0, 0), ('a', -20, 0)), 1)])
def test_text_match_counts_equal_texts_that_are_near(generated, golden, expected):
    assert text_match(generated, golden) == pytest.approx(expected)


def test_text_match_sees_titles_ticks_and_labels_of_a_program(sandbox):
    program = HEAD + 'plt.plot([0, 1]); plt.title(" Over "); plt.xticks([0, 1], ["low", "high"]); plt.yticks([])'
    one, other = sandbox.execute_all([program, program.replace('Over', 'under')])
    assert [text for text, _, _ in one.chartmimic.placed] == ['high', 'low', 'over']
    assert text_match(one.chartmimic, one.chartmimic) == 1
    assert text_match(other.chartmimic, one.chartmimic) == pytest.approx(2 / 4)


def test_pass_rate_counts_renders_with_ink():
    drawn = execution(EMPTY)
    white = dataclasses.replace(drawn, render=np.full((2, 2, 3), 255, np.uint8))
    assert pass_rate([drawn, white, failure(Status.error, 'no'), drawn]) == 0.5
    with pytest.raises(ValueError, match='no executions'):
        pass_rate([])


@settings(max_examples=30, deadline=None)
@given(figures)
def test_golden_executions_come_back_from_disk_with_both_element_sets(tmp_path_factory, elements):
    folder = tmp_path_factory.mktemp('goldens')
    golden = dataclasses.replace(execution(elements), replayed=True)
    Goldens(folder)['program'] = golden
    back = Goldens(folder)['program']
    assert back.elements == golden.elements and back.chartmimic == golden.chartmimic and back.replayed and back.render is None


@pytest.mark.parametrize('name, value', [('VERSION', goldens.VERSION + 1), ('version', lambda name: '9.9.9')])
def test_golden_executions_of_another_version_are_not_found(tmp_path, monkeypatch, name, value):
    Goldens(tmp_path)['program'] = execution(EMPTY)
    assert 'program' in Goldens(tmp_path)
    monkeypatch.setattr(goldens, name, value)
    assert 'program' not in Goldens(tmp_path)


def test_damaged_and_failed_golden_executions_are_not_found(tmp_path):
    kept = Goldens(tmp_path)
    kept['program'], kept['other'] = execution(EMPTY), failure(Status.timeout, 'slow')
    file, = tmp_path.rglob('*.json')
    file.write_text(file.read_text().replace('texts', 'words'))
    assert not {'program', 'other'} & {name for name in ('program', 'other') if name in Goldens(tmp_path)}
    assert 'other' in kept and not kept['other'].ok
