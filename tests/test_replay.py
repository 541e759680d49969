"""Promises of the replay: equal pixels, and nothing counts that cannot be seen."""

import json
import subprocess
import sys

import numpy as np
import pytest

from recoder_jax.charts.execution import Status
from recoder_jax.charts.reader import Reader
from recoder_jax.charts.sandbox import Sandbox
from recoder_jax.charts.scores import rule_score
from tests.replaying import LIMITS, Replaying

HEAD = 'import matplotlib.pyplot as plt\nimport numpy as np\n'

CHARTS = {
    'lines': 'plt.plot([1, 3, 2], "o-", label="a"); plt.plot([2, 1, 3], "k--", lw=0.7); plt.legend(); plt.grid()',
    'bars': 'plt.bar("abc", [3, 4, 5], color=["r", "g", "b"], edgecolor="k", hatch="//"); plt.xticks(rotation=30)',
    'stacked': 'plt.barh([1, 2], [3, 4]); plt.barh([1, 2], [1, 2], left=[3, 4], alpha=0.5)',
    'histogram': 'plt.hist(np.random.default_rng(0).normal(size=300), bins=20, histtype="stepfilled", alpha=0.6)',
    'scatter': 'plt.scatter(*np.random.default_rng(1).random((2, 60)), c=np.arange(60), s=40, alpha=0.5); plt.colorbar()',
    'image': 'plt.imshow(np.arange(12).reshape(3, 4), cmap="magma"); plt.colorbar(label="v")',
    'smooth image': 'plt.imshow(np.eye(5), interpolation="bicubic", extent=(0, 2, 0, 1), alpha=0.7)',
    'rgb image': 'plt.imshow(np.random.default_rng(2).random((7, 9, 3)))',
    'mesh': 'plt.pcolormesh(np.arange(20).reshape(4, 5), cmap="viridis", edgecolors="w")',
    'gouraud': 'plt.pcolormesh(np.arange(20).reshape(4, 5), shading="gouraud")',
    'contours': 'x = np.linspace(-2, 2, 30); z = np.outer(np.sin(x), np.cos(x)); plt.contourf(z); plt.contour(z, colors="k")',
    'pie': 'plt.pie([1, 2, 3], labels=["a", "b", "c"], autopct="%d", explode=[0, 0.1, 0], shadow=True)',
    'box': 'plt.boxplot([[1, 2, 3, 9], [2, 3, 4]], patch_artist=True); plt.violinplot([[1, 2, 3], [2, 3, 4]])',
    'errorbar': 'plt.errorbar([1, 2], [1, 2], yerr=0.2, capsize=3); plt.stem([1, 2], [2, 1]); plt.step([1, 2], [2, 2])',
    'fills': 'plt.fill_between([1, 2, 3], [1, 2, 1], alpha=0.3); plt.stackplot([1, 2], [1, 2], [2, 1]); plt.axvspan(1, 2)',
    'polar': 'a = plt.subplot(projection="polar"); a.bar([0, 1, 2], [1, 2, 3], width=0.5); a.plot([0, 3], [1, 2])',
    'solid': 'a = plt.subplot(projection="3d"); x, y = np.mgrid[:3, :3]; a.plot_surface(x, y, x * y, cmap="hot")',
    'bars in 3d': 'a = plt.subplot(projection="3d"); a.bar3d([0, 1], [0, 1], 0, 0.5, 0.5, [1, 2]); a.scatter([0], [0], [1])',
    'arrows': 'plt.quiver([1, 2], [1, 2], [1, 0], [0, 1]); plt.streamplot(*np.mgrid[:4, :4][::-1], np.eye(4), np.ones((4, 4)))',
    'hexagons': 'plt.hexbin(*np.random.default_rng(3).normal(size=(2, 200)), gridsize=12)',
    'texts': 'plt.title("one\\ntwo"); plt.text(0.2, 0.5, "turned", rotation=37); plt.xlabel(r"$\\frac{a}{b}^2$"); '
             'plt.annotate("note", (0.5, 0.5), (0.7, 0.7), arrowprops={"arrowstyle": "->"}, bbox={"boxstyle": "round"})',
    'outlines': 'import matplotlib.patheffects as pe; plt.text(0.3, 0.5, "edged", size=30, path_effects=[pe.withStroke('
                'linewidth=4, foreground="r")]); plt.plot([0, 1], path_effects=[pe.SimpleLineShadow(), pe.Normal()])',
    'sketch': 'plt.xkcd(); plt.plot([1, 2, 1]); plt.title("drawn")',
    'grid': 'f, a = plt.subplots(2, 2, sharex=True); a[0, 0].plot([1, 2]); a[1, 1].bar([1], [2]); a[0, 1].twinx().plot([3, 4]); '
            'f.suptitle("all"); f.tight_layout()',
    'clipped': 'c = plt.Circle((0.5, 0.5), 0.4, transform=plt.gca().transAxes); i = plt.imshow(np.eye(9)); i.set_clip_path(c)',
    'filter': 'l, = plt.plot([1, 2]); l.set_agg_filter(lambda image, dpi: (image * 0.5, 0, 0)); plt.title("t")',
    'styles': 'plt.style.use("dark_background"); plt.rcParams["font.family"] = "serif"; '
              'plt.rcParams["mathtext.fontset"] = "stix"; plt.plot([1, 2]); plt.title("$x_1$ y")',
    'table': 'plt.table([["1", "2"], ["3", "4"]], colLabels=["a", "b"], loc="center"); plt.axis("off")',
}
RECORD = '''
import io, json, sys
import matplotlib
matplotlib.use('Agg')
import matplotlib.figure, matplotlib.pyplot as plt, numpy as np
from PIL import Image
from recoder_jax.charts.picture import take_picture
from recoder_jax.charts.recorder import Recorder
recorder = Recorder()
recorder.install()
charts, folder = json.load(sys.stdin), sys.argv[1]
for number, program in enumerate(charts):
    with matplotlib.rc_context():
        exec(program, {})
        figure, buffer = plt.gcf(), io.BytesIO()
        matplotlib.figure.Figure.savefig.__wrapped__(figure, buffer, dpi=100, format='png')
        body = take_picture(figure, recorder, 4_000_000, replay=True).draw_list
        open(f'{folder}/{number}.list', 'wb').write(body)
        np.save(f'{folder}/{number}.npy', np.asarray(Image.open(buffer).convert('RGB')))
        plt.close('all')
        recorder.reset()
'''

@pytest.fixture(scope='module')
def recorded(tmp_path_factory):
    """Name of a chart -> its draw list and its pixels by `savefig(dpi=100)`."""
    folder = tmp_path_factory.mktemp('lists')
    subprocess.run([sys.executable, '-W', 'ignore', '-c', RECORD, str(folder)], check=True, timeout=300,
                   input=json.dumps([HEAD + program for program in CHARTS.values()]), text=True)
    return {name: ((folder / f'{number}.list').read_bytes(), np.load(folder / f'{number}.npy'))
            for number, name in enumerate(CHARTS)}


@pytest.fixture(scope='module')
def replaying():
    replaying = Replaying()
    yield replaying
    replaying.close()


@pytest.mark.parametrize('name', CHARTS)
def test_a_replay_has_the_pixels_of_savefig(recorded, replaying, name):
    draw_list, expected = recorded[name]
    execution = replaying.read(draw_list)
    assert execution.ok and execution.replayed, execution.log
    np.testing.assert_array_equal(execution.render, expected)


def test_every_chart_scores_one_against_itself_and_shows_its_elements(sandbox):
    programs = [HEAD + program for program in CHARTS.values()]
    once, again = sandbox.execute_all(programs), sandbox.execute_all([program + '\n#' for program in programs])
    for name, one, other in zip(CHARTS, once, again):
        assert one.ok and one.replayed and not one.tampered, (name, one.log, one.tampered)
        assert rule_score(one, other).low_level == 1 and np.array_equal(one.render, other.render), name
        assert one.elements.layout or name == 'table', name
        assert one.elements.chart_types or name in ('texts', 'filter'), name


def test_without_replay_the_process_is_believed():
    with Sandbox(workers=1, replay='off') as pool:
        one = pool.execute(HEAD + 'plt.plot([1, 2]); plt.text(0.5, 1.5, "hidden", color="w")')
    assert one.ok and not one.replayed and one.elements.texts == ('hidden',)


BIG = 'plt.text(0.5, 0.5, "forged", size=20{})'
HIDDEN_TEXTS = {
    'white on white': BIG.format(', color="w"'),
    'nearly white': BIG.format(', color="#fdfdfd"'),
    'transparent': BIG.format(', alpha=0.01'),
    'below a patch': BIG.format(', zorder=0') + '; plt.gca().add_patch(plt.Rectangle((0, 0), 1, 1, color="w", zorder=5))',
    'in the colour of the patch below': 'plt.axhspan(0, 1, color="navy"); ' + BIG.format(', color="navy"'),
    'below an image': BIG.format(', zorder=0') + '; plt.imshow(np.ones((9, 9, 3)), extent=(0, 1, 0, 1), zorder=6)',
    'below a mesh': BIG.format(', zorder=0') + '; plt.pcolormesh([0, 1], [0, 1], [[1]], zorder=6, cmap="gray")',
    'below many thin layers': BIG.format(', zorder=0') + '\nfor i in range(90): plt.axvspan(0, 1, color="w", alpha=0.05, zorder=5)',
    'faded in small steps': BIG.format(', zorder=0') + '\nfor i in range(64): plt.axvspan(0, 1, color=str(i / 63), lw=0, zorder=5 + i)',
    'tiny font': 'plt.text(0.5, 0.5, "forged", size=0.1)',
    'small font': 'plt.text(0.5, 0.5, "forged", size=3)',
    'tiny mathtext': 'plt.text(0.5, 0.5, "$_{_{_{_{_{forged}}}}}$", size=4)',
    'off the canvas': 'plt.figtext(1.5, 0.5, "forged", size=20)',
    'mostly off the canvas': 'plt.figtext(0.995, 0.5, "forged", size=20)',
    'clipped away': 'plt.text(1.001, 0.5, "forged", size=20, clip_on=True); plt.xlim(0, 1)',
    'mostly clipped': 'plt.text(0.99, 0.5, "forged", size=20, clip_on=True); plt.xlim(0, 1)',
    'invisible': BIG.format(', visible=False'),
    'cut up by stripes': BIG.format(', zorder=0') + '; plt.hlines(np.linspace(0.45, 0.6, 60), 0, 1, "w", lw=1.5, zorder=9)',
    'outlines in white': 'import matplotlib.patheffects as pe; plt.text(0.5, 0.5, "forged", size=20, color="w", '
                         'path_effects=[pe.withStroke(linewidth=3, foreground="w")])',
}


@pytest.mark.parametrize('name', HIDDEN_TEXTS)
def test_a_text_that_cannot_be_read_does_not_count(sandbox, name):
    execution = sandbox.execute(HEAD + 'plt.axis([0, 1, 0, 1]); plt.title("kept")\n' + HIDDEN_TEXTS[name])
    assert execution.ok, execution.log
    assert not [text for text in execution.elements.texts if 'forged' in text]
    assert 'kept' in execution.elements.texts


SHOWN_TEXTS = {
    'below one thin layer': BIG.format(', zorder=0') + '; plt.axvspan(0, 1, color="y", alpha=0.3, zorder=5)',
    'white on dark': 'plt.axhspan(0, 1, color="navy"); ' + BIG.format(', color="w"'),
    'grey': BIG.format(', color="#cccccc"'),
    'under grid lines': BIG.format('') + '; plt.grid(); plt.gca().set_axisbelow(False)',
    'turned': BIG.format(', rotation=213'),
    'small': 'plt.text(0.5, 0.5, "forged", size=6)',
    'short': 'plt.text(0.5, 0.5, "-"); plt.text(0.4, 0.5, "forged")',
    'on an image': 'plt.imshow(np.eye(2), extent=(0, 1, 0, 1)); plt.text(0.6, 0.25, "forged", color="w")',
    'outlines': 'import matplotlib.patheffects as pe; plt.text(0.5, 0.5, "forged", size=20, color="w", '
                'path_effects=[pe.withStroke(linewidth=3, foreground="k")])',
    'crossed by a line': BIG.format('') + '; plt.plot([0, 1], [0.52, 0.52])',
}


@pytest.mark.parametrize('name', SHOWN_TEXTS)
def test_a_text_that_can_be_read_counts(sandbox, name):
    execution = sandbox.execute(HEAD + 'plt.axis([0, 1, 0, 1])\n' + SHOWN_TEXTS[name])
    assert execution.ok and 'forged' in execution.elements.texts, (execution.log, execution.elements)


LINE = 'plt.axis([0, 1, 0, 1]); plt.bar([0.2], [0.5], color="r", width=0.2)\n'
# What a program claims besides its one red bar; none of it is to be seen.
FORGERIES = {
    'white line': 'plt.plot([0.5, 0.9], color="w")',
    'white lines over a green patch': 'plt.axvspan(0.5, 0.9, color="g", lw=0)\n'
                                      'for i in range(9): plt.plot([0.5, 0.9], [0.5, 0.5], "w", lw=500, solid_capstyle="butt")',
    'transparent line': 'plt.plot([0, 1], alpha=0.005)',
    'hair line': 'plt.plot([0, 1], lw=0.001)',
    'line out of limits': 'plt.plot([5, 6], [5, 6]); plt.axis([0, 1, 0, 1])',
    'one pixel': 'plt.plot([0.5], [0.5], ",")',
    'empty line': 'plt.plot([], color="g")',
    'bars below a bar': 'for i in range(9): plt.bar([0.2], [0.4], color="g", width=0.1, zorder=0.5)',
    'bars below a white patch': 'for i in range(9): plt.bar([0.7], [0.4], bottom=0.2, color="g", width=0.1)\n'
                                'plt.gca().add_artist(plt.Rectangle((0.5, 0.1), 0.4, 0.8, color="w", zorder=5))',
    'image in white': 'plt.imshow(np.ones((4, 4, 3)), extent=(0, 1, 0, 1), zorder=0)',
    'getter of an artist': 'plt.gca().patches[0].get_facecolor = lambda: (0, 1, 0, 1)',
    'getter of the class': 'import matplotlib.patches as p; p.Patch.get_facecolor = lambda s: (0, 1, 0, 1)',
    'property of a class': 'import matplotlib.patches as p; p.Rectangle._facecolor = property(lambda s: (0, 1, 0, 1), lambda s, v: None)',
    'calls of the recorder': 'import gc\nfrom recoder_jax.charts.recorder import Call, Recorder\n'
                             'r = [o for o in gc.get_objects() if isinstance(o, Recorder)][0]\n'
                             'r.calls += [Call(plt.gca(), "pie", list(plt.gca().patches))] * 5',
    'one artist in many calls': 'import gc\nfrom recoder_jax.charts.recorder import Call, Recorder\n'
                                'r = [o for o in gc.get_objects() if isinstance(o, Recorder)][0]\n'
                                'r.calls += [Call(plt.gca(), "hist", list(plt.gca().patches))] * 5',
    'empty axes': 'for i in range(4): plt.gcf().add_subplot(2, 2, i + 1).axis("off")',
    'axes without size': 'for i in range(4): plt.gcf().add_axes([0.1 * i, 0.95, 0.0001, 0.0001])',
    'axes out of order': 'for i in range(4): plt.gcf().add_subplot(2, 2, i + 1).set_position([0.9, 0.9, 0.05, 0.05])',
    'cells of the class': 'from matplotlib.gridspec import GridSpec\nGridSpec.get_geometry = lambda s: (7, 7)',
}


@pytest.mark.parametrize('name', FORGERIES)
def test_what_is_not_seen_earns_nothing(sandbox, name):
    honest = sandbox.execute(HEAD + LINE)
    forged = sandbox.execute(HEAD + LINE + FORGERIES[name])
    assert honest.elements.chart_types == (('bar', 1),) and honest.elements.colors == (('bar', '#FF0000'),)
    if not forged.ok:
        assert name.startswith(('calls', 'one artist', 'property')), forged.log      # a tier may deny the import
        return
    assert set(forged.elements.colors) <= set(honest.elements.colors), forged.elements
    assert dict(forged.elements.chart_types).items() <= {'bar': 1}.items(), forged.elements
    assert len(forged.elements.layout) <= 1 or name == 'axes out of order', forged.elements
    assert len(forged.elements.layout) <= 2
    assert not name.endswith('of the class') or 'was' in forged.tampered


@pytest.mark.parametrize('program, colors', [
    ('m = plt.imshow(np.arange(9).reshape(3, 3), cmap="hot")', {'hot'}),
    ('m = plt.imshow(np.arange(9).reshape(3, 3), cmap=plt.get_cmap("hot").copy()); m.cmap.name = "viridis"', {'#0B0000', '#FF5C00', '#FFFFFF'}),
    ('m = plt.imshow(np.arange(9).reshape(3, 3)); m.get_cmap = lambda: plt.get_cmap("hot")', set()),
    ('from matplotlib.colors import LinearSegmentedColormap as L; plt.imshow(np.eye(3), cmap=L.from_list("mine", ["#ff0000", "#0000ff"]))',
     {'#FF0000', '#7F0080', '#0000FF'}),
    ('plt.scatter([1, 2, 3], [1, 2, 3], c=[1, 2, 3], cmap="cool")', {'cool'}),
    ('plt.contourf(np.arange(16).reshape(4, 4), cmap="winter")', {'winter'}),
])
def test_a_colormap_counts_by_the_colours_that_are_drawn(sandbox, program, colors):
    execution = sandbox.execute(HEAD + program)
    assert {color for _, color in execution.elements.colors} == colors, execution.elements


def test_each_of_several_colours_needs_its_own_ink(sandbox):
    drawn = sandbox.execute(HEAD + 'plt.axis([0, 1, 0, 1]); plt.scatter([0.2, 0.5, 9], [0.5, 0.5, 9], s=200, '
                            'c=["r", "g", "b"], edgecolors="k"); plt.axis([0, 1, 0, 1])')
    assert drawn.elements.colors == (('scatter', '#008000'), ('scatter', '#FF0000'))


def test_figures_that_cannot_be_replayed_are_named_or_fall_back(sandbox):
    program = HEAD + ('from matplotlib.backends.backend_agg import RendererAgg\nclass A(plt.Line2D):\n  def draw(self, r):\n'
                      '    r.restore_region(None)\nRendererAgg.restore_region = lambda *a: None\n'
                      'plt.gca().add_line(A([0, 1], [0, 1])); plt.title("t")')
    with Sandbox(workers=1, replay='preferred') as lenient:
        refused, taken = sandbox.execute(program), lenient.execute(program)
    assert refused.status is Status.output and 'cannot be replayed: pixels restored' in refused.log
    assert taken.ok and not taken.replayed and taken.elements.texts == ('t',)
    with pytest.raises(ValueError, match="replay 'perhaps' is unknown"):
        Reader(LIMITS, 'perhaps')
