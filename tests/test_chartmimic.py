"""The mode `chartmimic` sees and scores what ChartMimic's evaluators do.

The values of PAIRS were printed by its evaluators (c9e149c, matplotlib 3.8.4); `agreement_with_chartmimic.py` compares many more.
"""

import dataclasses
import importlib.util
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recoder_jax.charts.chartmimic import (
    MAX_CHARACTERS, MAX_COLORS, MAX_TEXTS, ChartMimicElements, match_chart_types, match_colors, match_layout, match_texts,
    thinned_colors)
from recoder_jax.charts.colour import color_similarity
from recoder_jax.charts.scores import rule_score

HEAD = 'import matplotlib.pyplot as plt\nimport numpy as np\n'
EMPTY = ChartMimicElements((), (), (), ())

# name -> generated, golden, F1 of text, layout, chart type and colour.
PAIRS = {
    'grouped bars': (
        'plt.bar([0, 1], [1, 2], 0.4, color="#4C72B0", label="north")\n'
        'plt.bar([0.4, 1.4], [2, 1], 0.4, color="#DD8452", label="south")\n'
        'plt.title("Sales of  2020"); plt.ylabel("units"); plt.axhline(1, color="k"); plt.legend()\n',
        'plt.bar([0, 1], [1, 2], 0.4, color="#4682B4", label="north")\n'
        'plt.bar([0.4, 1.4], [2, 1], 0.4, color="#FFA500", label="South")\n'
        'plt.title("Sales of 2020"); plt.ylabel("units"); plt.xlabel("year"); plt.legend()\n',
        (0.4444444444444444, 1.0, 0.8, 0.700024209413727)),
    'other grid': (
        'f, a = plt.subplots(1, 4)\n'
        'a[0].scatter([1, 2], [2, 1], c="g"); a[1].hist([1, 2, 2], color="teal"); a[2].imshow(np.eye(3), cmap="hot")\n'
        'a[3].pie([1, 2, 3], labels=["x", "y", "z"], autopct="%d%%"); a[0].set_title("points")\n',
        'f, a = plt.subplots(2, 2); a = a.ravel()\n'
        'a[0].scatter([1, 2], [2, 1], c="b"); a[1].hist([1, 2, 2], color="navy"); a[2].imshow(np.eye(3), cmap="gray")\n'
        'a[3].pie([1, 2, 3], labels=["x", "y", "w"], autopct="%d%%"); a[0].set_title("points")\n'
        'plt.colorbar(a[2].images[0], ax=a[2], label="level")\n',
        (0.8, 0.0, 1.0, 0.654842882693864)),
    'recoloured and caught': (
        'lines = plt.plot([1, 2], [1, 2], "r", [1, 2], [2, 1], "b")\n'
        'for line in lines: line.set_color("#00AA00")\n'
        'try: plt.bar([1, 2], [1, 2, 3])\n'
        'except ValueError: pass\n'
        'plt.fill_between([1, 2], [1, 2], color="c"); plt.text(1, 1, "one\\n\\n$x$ two")\n',
        'plt.plot([1, 2], [1, 2], "r"); plt.errorbar([1, 2], [2, 1], 0.1, color="b")\n'
        'plt.fill_between([1, 2], [1, 2], color="m"); plt.text(1, 1, "one\\n$x$ two")\n',
        (0.8, 1.0, 0.4, 0.12145553918736844)),
    'boxes and bodies': (
        'b = plt.boxplot([[1, 2, 3], [2, 3, 4]], patch_artist=True)\n'
        'for box, c in zip(b["boxes"], ("gold", "tan")): box.set_facecolor(c)\n'
        'plt.violinplot([[1, 2, 4]], positions=[4]); plt.hlines([1, 2], 0, 4, colors=["k", "r"]); plt.axvspan(0, 1, color="y")\n'
        'plt.title("boxes", path_effects=[])\n',
        'b = plt.boxplot([[1, 2, 3], [2, 3, 4]], patch_artist=True)\n'
        'for box, c in zip(b["boxes"], ("gold", "pink")): box.set_facecolor(c)\n'
        'plt.vlines([1, 2], 0, 4, colors=["k", "r"]); plt.axvspan(0, 1, color="orange"); plt.title("boxes")\n',
        (1.0, 1.0, 0.5714285714285714, 0.33692883193437)),
    'polar and solid': (
        'a = plt.subplot(1, 2, 1, projection="polar"); a.plot([0, 1], [1, 2], "r"); a.scatter([1], [1], c="b")\n'
        'b = plt.subplot(1, 2, 2, projection="3d"); b.scatter([0, 1], [0, 1], [0, 1], color="g"); b.plot([0, 1], [0, 1], [1, 0], "k")\n'
        'b.set_zticks([0, 1]); b.set_title("solid")\n',
        'a = plt.subplot(1, 2, 1, projection="polar"); a.bar([0, 1], [1, 2], color="r")\n'
        'b = plt.subplot(1, 2, 2, projection="3d"); b.scatter([0, 1], [0, 1], [0, 1], color="lime"); b.bar3d(0, 0, 0, 1, 1, 1, color="c")\n'
        'b.set_zticks([0, 1]); b.set_title("solid")\n',
        (1.0, 1.0, 0.2857142857142857, 0.18712977208853646)),
    'free and twin axes': (
        'f = plt.figure(); a = f.add_axes([0.1, 0.1, 0.8, 0.8]); a.step([1, 2], [1, 2], color="r"); a.fill([1, 2, 2], [1, 1, 2], "g")\n'
        'a.twinx().broken_barh([(1, 1)], (1, 1), facecolors="orange"); f.suptitle("above")\n',
        'f, a = plt.subplots(); a.step([1, 2], [1, 2], color="r"); a.fill([1, 2, 2], [1, 1, 2], "lime")\n'
        'a.twinx().stackplot([1, 2], [1, 2], colors=["y"]); f.suptitle("above"); f.supxlabel("below")\n',
        (0.6666666666666666, 0.0, 0.6666666666666666, 0.5516514007699592)),
}


@pytest.fixture(scope='module')
def seen(sandbox):
    def elements(program: str) -> ChartMimicElements:
        execution = sandbox.execute(HEAD + program)
        assert execution.ok, execution.log
        return execution.chartmimic
    return elements


def measures(generated: ChartMimicElements, golden: ChartMimicElements) -> tuple[float, ...]:
    return tuple(match(generated, golden).f1 for match in (match_texts, match_layout, match_chart_types, match_colors))


@pytest.mark.parametrize('name', PAIRS)
def test_scores_equal_those_of_its_evaluators(seen, name):
    generated, golden, expected = PAIRS[name]
    assert measures(seen(generated), seen(golden)) == pytest.approx(expected, abs=1e-6)


def test_the_mode_scores_executions(sandbox):
    generated, golden, expected = PAIRS['grouped bars']
    one, other, failed, free = sandbox.execute_all([HEAD + generated, HEAD + golden, HEAD + golden + '1 / 0\n',
                                                    HEAD + 'plt.figure().add_axes([0, 0, 1, 1]).plot([1, 2])'])
    score = rule_score(one, other, 'chartmimic')
    assert (score.text, score.layout, score.chart_type, score.color) == pytest.approx(expected, abs=1e-6)
    assert score.executed and rule_score(free, free).layout == 1 and rule_score(free, free, 'chartmimic').layout == 0
    assert rule_score(failed, other, 'chartmimic').low_level == 0


@pytest.mark.parametrize('program, texts', [
    ('plt.plot([1, 2]); plt.title(" T "); plt.xlabel("a\\nb"); plt.ylabel("")', (' T ', 'a', 'b')),
    ('plt.plot([1e7, 2e7]); plt.title("$x$ \\\\$5"); plt.text(0, 1e7, "5 \\\\$")', ('$x$ \\$5', '5 $')),
    ('plt.text(0, 0, "gone", visible=False); plt.text(0, 9, "off the canvas"); plt.yscale("log", nonpositive="mask"); plt.text(0, 0, "none")',
     ('off the canvas',)),
    ('import matplotlib.patheffects as e; plt.title("outlined", path_effects=[e.Stroke(), e.Normal()]); plt.xlabel("x")',
     ('x',)),
    ('plt.title("pixels"); plt.gca().title.set_rasterized(True); plt.xlabel("x")', ('x',)),
    ('a = plt.axes(projection="3d"); a.set_zticks([0, 1]); a.set_title("solid")', ('0', '1', 'solid')),
    ('a = plt.gca().inset_axes([0, 0, 1, 1]); a.set_xticks([0.5]); a.set_yticks([])', ('0.5',)),
    ('plt.gca().set_xticks([0, 1], ["major", "major"]); plt.gca().set_xticks([0.5], ["minor"], minor=True)', ('minor',)),
    ('plt.yscale("log"); plt.ylim(0.8, 3); plt.yticks([1, 2], ["major", "major"])',
     (r'$\mathdefault{2\times10^{0}}$', r'$\mathdefault{3\times10^{0}}$')),
    ('f = plt.gcf(); f.suptitle("twice"); f.savefig("own.pdf"); plt.savefig("end.pdf")', ('twice', 'twice')),
    ('f = plt.gcf(); f.suptitle("drawn before"); f.canvas.draw(); f.suptitle("after"); f.savefig("own.png")', ('after',))])
def test_texts_are_lines_as_drawn_without_major_ticks(seen, program, texts):
    if 'twice' in program:
        program = 'plt.figure(); ' + program
    assert seen(program).texts == texts


@pytest.mark.parametrize('program, layout', [
    ('f = plt.figure(); f.add_axes([0, 0, 1, 1]).plot([1])', ()),
    ('f, a = plt.subplots(1, 2); a[0].twinx()', ((1, 2, 0, 0, 0, 0), (1, 2, 0, 0, 0, 0), (1, 2, 0, 0, 1, 1))),
    ('plt.subplots(2, 2); plt.figure(); plt.subplot(3, 1, (1, 2))', ((3, 1, 0, 1, 0, 0),))])
def test_layout_is_that_of_axes_with_a_specification_in_the_current_figure(seen, program, layout):
    assert seen(program).layout == layout


@pytest.mark.parametrize('program, chart_types', [
    ('plt.errorbar([1, 2], [1, 2], 1); plt.hist([1, 2]); plt.semilogx([1, 2]); plt.stackplot([1, 2], [1, 2])',
     {'errorbar': 1, 'hist': 1, 'plot': 1, 'fill_between': 1}),
    ('plt.pcolormesh(np.eye(2)); plt.hexbin([1, 2], [1, 2]); plt.hist2d([1, 2], [1, 2])', {}),
    ('plt.axes(projection="polar").plot([1, 2]); plt.gca().bar([1], [1])', {'plot_polar': 1, 'bar': 1}),
    ('a = plt.axes(projection="3d"); a.plot([1, 2], [1, 2], [1, 2]); a.scatter([1], [1], [1]); a.bar([1], [1])',
     {'plot_3d': 1, 'scatter': 1, 'bar': 1}),
    ('try: plt.bar([1, 2], [1, 2, 3])\nexcept ValueError: plt.plot([1, 2])', {'bar': 1}),
    ('plt.gca().add_patch(plt.Circle((0, 0))); plt.gca().add_patch(__import__("matplotlib").patches.Ellipse((0, 0), 1, 1))',
     {'ellipse': 2})])
def test_chart_types_are_outermost_calls_of_listed_functions(seen, program, chart_types):
    assert dict(seen(program).chart_types) == chart_types


@pytest.mark.parametrize('program, colors', [
    ('plt.bar(range(8), range(8), color="r")', {('bar', '#FF0000')}),
    ('b = plt.bar([1, 2], [1, 2], color=["r", "b"]); b[0].set_facecolor((0, 1, 0))', {('bar', '#00FF00'), ('bar', '#0000FF')}),
    ('a = plt.plot([1], "r"); b = plt.plot([2], "r"); a[0].set_color("g"); b[0].set_color("b")', {('line', '#0000FF')}),
    ('plt.plot([1], color="#ff000080"); plt.plot([1], color=(1, 0, 0, 0.5))', {('line', '#FF000080'), ('line', '#FF0000')}),
    ('plt.scatter([1, 2], [1, 2], c=["b", "r"]); plt.axes(projection="polar").scatter([1], [1], c=[1], cmap="hot")',
     {('scatter', '#0000FF'), ('scatter_polar', 'hot')}),
    ('plt.imshow(np.zeros((2, 2, 3))); plt.contourf(np.eye(3), cmap="gray"); plt.pcolormesh(np.eye(2))',
     {('imshow', 'viridis'), ('contourf', 'gray')}),
    ('plt.boxplot([1, 2, 3]); plt.plot([1], color=("r", 0.5))', {('line', '#FF0000')}),
    ('try: plt.bar([1, 2], [1, 2, 3])\nexcept ValueError: plt.plot([1, 2])', set())])
def test_colours_are_read_at_the_end_from_the_last_of_equal_entries(seen, program, colors):
    assert set(seen(program).colors) == colors


@pytest.mark.parametrize('library, program, chart_types, colors', [
    ('networkx', 'import networkx as n; n.draw(n.path_graph(2), {0: (0, 0), 1: (1, 1)}, node_color="r", edge_color="b")',
     {'draw_networkx_nodes': 1, 'draw_networkx_edges': 1},
     {('draw_networkx_nodes', '#FF0000'), ('draw_networkx_edges', '#0000FF')}),
    ('squarify', 'import squarify; squarify.plot([2, 1], color=["r", "b"])', {'squarify': 1},
     {('squarify', '#FF0000'), ('squarify', '#0000FF')}),
    ('matplotlib_venn', 'from matplotlib_venn import venn2; venn2((1, 1, 1), set_colors=("r", "b"))', {'venn': 1}, None),
    ('seaborn', 'import seaborn; seaborn.barplot(x=["a", "b"], y=[1, 2], color="r", saturation=1)', {'bar': 1},
     {('bar', '#FF0000')})])
def test_other_libraries_are_seen_when_they_are_here(seen, library, program, chart_types, colors):
    if importlib.util.find_spec(library) is None:
        pytest.skip(f'{library} is not installed')
    elements = seen(program)
    assert {name: dict(elements.chart_types).get(name) for name in chart_types} == chart_types
    assert colors is None or colors <= set(elements.colors)


def test_more_than_ten_colours_are_thinned_in_sorted_order():
    greys = [('bar', f'#{level:02X}{level:02X}{level:02X}') for level in range(0, 256, 8)]
    kept = thinned_colors([*reversed(greys), ('imshow', 'hot'), ('pcolor', 'hot'), ('pcolor', 'jet')])
    assert kept[0] == ('bar', '#000000') and [('imshow', 'hot'), ('pcolor', 'jet')] == kept[-2:] and len(kept) < 10
    colors = [color for _, color in kept]
    similarity = color_similarity(colors, colors)
    assert all(similarity[i, j] <= 0.7 for i in range(len(kept)) for j in range(i))
    assert thinned_colors(greys[:10]) == greys[:10]


names = st.sampled_from(['bar', 'line', 'scatter_polar', 'imshow'])
shades = st.one_of(st.sampled_from(['viridis', 'hot']), st.integers(0, 0xFFFFFF).map('#{:06X}'.format))
figures = st.builds(
    lambda texts, layout, types, colors: ChartMimicElements.from_json(EMPTY.to_json() | {
        'texts': texts, 'layout': layout, 'chart_types': [list(item) for item in types.items()],
        'colors': [list(item) for item in colors]}),
    st.lists(st.sampled_from('abcd'), min_size=1, max_size=6),
    st.lists(st.lists(st.integers(0, 2), min_size=6, max_size=6), min_size=1, max_size=4),
    st.dictionaries(names, st.integers(1, 4), min_size=1, max_size=3),
    st.lists(st.tuples(names, shades), min_size=1, max_size=14))


@settings(max_examples=150, deadline=None)
@given(figures, figures)
def test_scores_are_one_for_identical_sides_symmetric_and_within_zero_and_one(a, b):
    assert measures(a, a) == (1, 1, 1, 1) and measures(a, EMPTY) == measures(EMPTY, EMPTY) == (0, 0, 0, 0)
    assert measures(a, b) == pytest.approx(measures(b, a), abs=1e-9)
    assert all(0 <= value <= 1 for value in measures(a, b))


@settings(max_examples=100, deadline=None)
@given(figures, st.sampled_from(['texts', 'layout', 'chart_types', 'colors']), st.data())
def test_a_score_falls_when_an_element_is_removed(elements, name, data):
    elements = dataclasses.replace(elements, colors=elements.colors[:10])       # of more, one may be dropped as similar
    values = getattr(elements, name)
    index = data.draw(st.integers(0, len(values) - 1))
    less = dataclasses.replace(elements, **{name: values[:index] + values[index + 1:]})
    fallen = [a < b for a, b in zip(measures(less, elements), measures(elements, elements))]
    assert fallen == [one == name for one in ('texts', 'layout', 'chart_types', 'colors')]


def test_precision_and_recall():
    match = match_texts(dataclasses.replace(EMPTY, texts=('a', 'a', 'b')), dataclasses.replace(EMPTY, texts=('a', 'c')))
    assert (match.precision, match.recall, match.f1) == pytest.approx((1 / 3, 1 / 2, 0.4))


def test_elements_at_their_caps_are_matched():
    many = dataclasses.replace(EMPTY, texts=tuple(f't{i:05d}' for i in range(MAX_TEXTS)),
                               colors=tuple(('bar', f'#{i * 4099 & 0xFFFFFF:06X}') for i in range(MAX_COLORS)))
    assert match_texts(many, many).f1 == 1 and match_colors(many, many).f1 == 1


@settings(max_examples=50, deadline=None)
@given(figures)
def test_elements_survive_the_wire(elements):
    placed = dataclasses.replace(elements, placed=(('a', 0.5, 1.0),), size=(6.4, 4.8))
    assert ChartMimicElements.from_json(json.loads(json.dumps(placed.to_json()))) == placed


@pytest.mark.parametrize('change', [
    {'texts': ['x' * 501]}, {'texts': ['x'] * (MAX_TEXTS + 1)}, {'texts': ['x' * 500] * (MAX_CHARACTERS // 500 + 1)},
    {'texts': [1]}, {'layout': [[1, 2, 3]]}, {'layout': [[True] * 6]}, {'chart_types': [['bar', 0]]},
    {'chart_types': [['bar', 1], ['bar', 2]]}, {'chart_types': [['bar', 1.5]]}, {'colors': [['bar', '#12345G']]},
    {'colors': [['bar', '#000000FFF']]}, {'colors': [['bar', '#000000']] * (MAX_COLORS + 1)}, {'colors': [['bar']]},
    {'placed': [['a', 1]]}, {'placed': [['a', float('nan'), 1]]}, {'placed': [['a', True, 1]]}, {'size': [1]},
    {'size': [float('inf'), 1]}, {'more': []}])
def test_elements_over_a_cap_or_of_another_form_are_refused(change):
    with pytest.raises(ValueError, match='ChartMimic elements'):
        ChartMimicElements.from_json(EMPTY.to_json() | change)
    with pytest.raises(ValueError, match='exactly the keys'):
        ChartMimicElements.from_json(None)
