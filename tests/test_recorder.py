"""Promises of the recorder: what a program plots is seen under its name, and the hooks change nothing else."""

import importlib.util

import pytest

from recoder_jax.charts.execution import Limits
from recoder_jax.charts.sandbox import Sandbox

HEAD = 'import matplotlib\nimport matplotlib.pyplot as plt\nimport numpy as np\n'
SEED = 7


@pytest.fixture(scope='module')
def run():
    """Executes a program; those of the tables are queued at once."""
    with Sandbox(workers=1, limits=Limits(seconds=60), seed=SEED) as pool:
        tables = KINDS, LIBRARIES, LAYOUTS
        programs = [*(row[0] for table in tables for row in table.values()), *BEHAVIOURS.values(), RANDOM]
        started = {program: pool.submit(HEAD + program) for program in programs}
        yield lambda program: started[program].result()


# Program: chart types with counts, texts, colours by chart type. None: not compared.
KINDS = {
    'heatmap of imshow': (
        'plt.imshow(np.arange(9.).reshape(3, 3), cmap="magma")', {'heatmap': 1}, [], {'heatmap': {'magma'}}),
    'heatmap of pcolormesh with a colour bar': (
        'm = plt.pcolormesh(np.eye(3), cmap="hot"); plt.colorbar(m, label="scale"); m.set_clim(0, 9); '
        'm.set_cmap("hot")', {'heatmap': 1, 'colorbar': 1}, ['scale'], None),
    'heatmap of pcolor': (
        'plt.pcolor(np.arange(9.).reshape(3, 3), cmap="Blues")', {'heatmap': 1}, [], {'heatmap': {'Blues'}}),
    'heatmap of matshow': ('plt.matshow(np.arange(9.).reshape(3, 3))', {'heatmap': 1}, [], {'heatmap': {'viridis'}}),
    'image of colours': ('plt.imshow(np.random.rand(5, 5, 3))', {'imshow': 1}, [], {}),
    'image with an alpha for each pixel': (
        'plt.imshow(np.arange(9.).reshape(3, 3), alpha=np.linspace(.2, 1, 9).reshape(3, 3))', {'heatmap': 1}, [], None),
    'colormap of the program': (
        'plt.imshow(np.arange(9.).reshape(3, 3), cmap=matplotlib.colors.ListedColormap(["r", "lime", "b"]))',
        {'heatmap': 1}, [], {'heatmap': {'#0000FF', '#00FF00', '#FF0000'}}),
    'hexbin': ('plt.hexbin(*np.random.rand(2, 500), gridsize=5, cmap="cool")', {'hexbin': 1}, [], {'hexbin': {'cool'}}),
    'hist2d': ('plt.hist2d(*np.random.rand(2, 500), bins=5)', {'hist2d': 1}, [], {'hist2d': {'viridis'}}),
    'surface of triangles': (
        'ax = plt.subplot(projection="3d")\nax.plot_trisurf([0, 1, 0, 1], [0, 0, 1, 1], [1, 2, 3, 1], cmap="hot")',
        {'plot_trisurf_3d': 1}, [], {'plot_trisurf_3d': {'hot'}}),
    'bars in space have one colour each, shades aside': (
        'ax = plt.subplot(projection="3d")\nax.bar3d([0, 2], [0, 2], [0, 0], 1, 1, [1, 2], color=["r", "b"])',
        {'bar3d_3d': 1}, [], {'bar3d_3d': {'#0000E1', '#E10000'}}),
    'wire frame': (
        'ax = plt.subplot(projection="3d")\nax.plot_wireframe(*np.mgrid[:5, :5], np.random.rand(5, 5), color="g")',
        {'plot_wireframe_3d': 1}, [], {'plot_wireframe_3d': {'#008000'}}),
    'line, points and words in space': (
        'ax = plt.subplot(projection="3d")\n'
        'ax.plot([0, 1], [0, 1], [0, 1], "k"); ax.scatter([0], [1], [1], c="r"); ax.text(0, 0, 0, "here")',
        {'plot_3d': 1, 'scatter_3d': 1}, ['here'], {'plot_3d': {'#000000'}, 'scatter_3d': {'#FF0000'}}),
    'streamplot': (
        'plt.streamplot(*np.mgrid[:5, :5][::-1], np.ones((5, 5)), np.eye(5), color="r")',
        {'streamplot': 1}, [], {'streamplot': {'#FF0000'}}),
    'quiver with a key': (
        'q = plt.quiver([0, 1], [0, 1], [1, 1], [1, 0], color="b")\nplt.quiverkey(q, .5, .5, 1, "unit")',
        {'quiver': 1}, ['unit'], {'quiver': {'#0000FF'}}),
    'contour lines of one colour, labelled': (
        'c = plt.contour(np.add.outer(np.arange(9.), np.arange(9.)), [5, 9], colors="k"); plt.clabel(c)',
        {'contour': 1}, None, {'contour': {'#000000'}}),
    'stem': (
        'plt.stem([1, 2], linefmt="g-", markerfmt="go", basefmt="k-")',
        {'stem': 1}, [], {'stem': {'#000000', '#008000'}}),
    'step': ('plt.step([1, 2, 3], [1, 2, 1], "r")', {'step': 1}, [], {'step': {'#FF0000'}}),
    'stackplot': (
        'plt.stackplot([1, 2], [1, 2], [2, 1], colors=["b", "r"], labels=["one", "two"]); plt.legend(title="of")',
        {'stackplot': 1}, ['of', 'one', 'two'], {'stackplot': {'#0000FF', '#FF0000'}}),
    'table': (
        'plt.axis("off"); '
        'plt.table([["a", "b"]], cellColours=[["r", "b"]], colColours=["g", "g"], colLabels=["x", "y"], loc="center")',
        {'table': 1}, ['a', 'b', 'x', 'y'], {'table': {'#0000FF', '#008000', '#FF0000'}}),
    'spectrum': ('plt.psd(np.random.rand(999), color="g")', {'psd': 1}, None, {'psd': {'#008000'}}),
    'error bars': (
        'plt.errorbar([1, 2], [1, 2], [.2, .3], fmt="o", color="r", ecolor="k", capsize=3)',
        {'errorbar': 1}, [], {'errorbar': {'#000000', '#FF0000'}}),
    'boxes': (
        'plt.boxplot([[1, 2, 3]], patch_artist=True, boxprops={"facecolor": "gold"}, medianprops={"color": "k"})',
        {'boxplot': 1}, [], {'boxplot': {'#000000', '#FFD700'}}),
    'labelled bars': (
        'b = plt.bar(["p", "q"], [1, 2], color=["r", "b"], yerr=.1); plt.bar_label(b); plt.ylabel("axis")',
        {'bar': 1}, ['1', '2', 'axis'], {'bar': {'#0000FF', '#FF0000'}}),
    'lines on logarithmic axes': (
        'plt.loglog([1, 9], [1, 9], "g"); plt.semilogy([1, 9], [9, 1], "g")', {'plot': 2}, [], {'plot': {'#008000'}}),
    'markers only': ('plt.plot([1, 2], "o", mfc="r", mec="b")', {'plot': 1}, [], {'plot': {'#FF0000'}}),
    'pie': (
        'plt.pie([1, 2], labels=["a", "b"], autopct="%d", colors=["r", "lime"])',
        {'pie': 1}, ['33', '66', 'a', 'b'], {'pie': {'#00FF00', '#FF0000'}}),
    'rings of pies': (
        'for r in (1, .6): plt.pie([1, 2], radius=r, colors="rb", wedgeprops={"width": .4})',
        {'pie': 2}, [], {'pie': {'#0000FF', '#FF0000'}}),
    'radar': (
        'ax = plt.subplot(projection="polar")\nt = [0, 2, 4, 0]\n'
        'ax.plot(t, [1, 2, 3, 1], "g"); ax.fill(t, [1, 2, 3, 1], "g")',
        {'plot_polar': 1, 'fill_polar': 1}, [], {'plot_polar': {'#008000'}, 'fill_polar': {'#008000'}}),
    'axes of the program count as what they derive from': (
        'from matplotlib.projections import register_projection, polar\nclass Mine(polar.PolarAxes):\n'
        '  name = "mine"\n  def plot(self, *args): return super().plot(*args, lw=3)\n'
        'register_projection(Mine); plt.subplot(projection="mine").plot([1, 2], [1, 2], "r")',
        {'plot_polar': 1}, [], {'plot_polar': {'#FF0000'}}),
    'Gantt': (
        'plt.broken_barh([(0, 2), (3, 1)], (0, 1), facecolors=("b", "r"))',
        {'broken_barh': 1}, [], {'broken_barh': {'#0000FF', '#FF0000'}}),
    'candles': (
        'for i in range(3): plt.vlines(i, 0, 9, "k"); plt.bar(i, 4, .5, 2, color="rgr"[i])',
        {'vlines': 3, 'bar': 3}, [], {'vlines': {'#000000'}, 'bar': {'#008000', '#FF0000'}}),
    'waffle': (
        'import matplotlib.patches as mp\nax = plt.gca()\n'
        'for i in range(9): ax.add_patch(mp.Rectangle((i % 3 / 3, i // 3 / 3), .3, .3, fc="g"))',
        {'Rectangle': 9}, [], {'Rectangle': {'#008000'}}),
    'shapes added by hand': (
        'import matplotlib.patches as mp\nax = plt.gca()\n'
        'ax.add_patch(mp.Circle((.5, .5), .2, fc="r")); ax.add_artist(mp.Ellipse((.2, .2), .1, .2, fc="b"))',
        {'Circle': 1, 'Ellipse': 1}, [], {'Circle': {'#FF0000'}, 'Ellipse': {'#0000FF'}}),
    'artists added by hand go by what they are': (
        'import matplotlib.patches as mp\nax = plt.gca()\nfrom matplotlib.lines import Line2D\n'
        'from matplotlib.collections import QuadMesh\nax.add_line(Line2D([0, 1], [0, 1], color="r"))\n'
        'ax.add_collection(QuadMesh(np.random.rand(3, 3, 2)))', {'plot': 1, 'heatmap': 1}, [], None),
    'a legend put back is no plot': (
        'a = plt.plot([1, 2], "r", label="a"); l = plt.legend(); plt.legend(["b"], loc=3); plt.gca().add_artist(l)',
        {'plot': 1}, ['a', 'b'], None),
    'twin axes': (
        'plt.plot([1, 2], "r"); plt.ylabel("left"); plt.twinx().bar([0, 1], [2, 1], color="b"); plt.ylabel("right")',
        {'plot': 1, 'bar': 1}, ['left', 'right'], {'plot': {'#FF0000'}, 'bar': {'#0000FF'}}),
    'axes placed freely': (
        'plt.figure().add_axes([.1, .1, .4, .8]).fill_between([0, 1], [1, 2], color="r")',
        {'fill_between': 1}, [], {'fill_between': {'#FF0000'}}),
    'inset with its frame': (
        'f, ax = plt.subplots(); i = ax.inset_axes([.5, .5, .4, .4]); i.plot([1, 2], "r"); '
        'ax.bar([0], [9], color="b")\nax.indicate_inset_zoom(i)',
        {'plot': 1, 'bar': 1}, [], {'plot': {'#FF0000'}, 'bar': {'#0000FF'}}),
    'parasite of axes_grid1': (
        'from mpl_toolkits.axes_grid1 import host_subplot\nh = host_subplot(111); p = h.twinx()\n'
        'h.plot([1, 2], "b"); p.plot([3, 1], "r")', {'plot': 2}, [], {'plot': {'#0000FF', '#FF0000'}}),
    'axisartist': (
        'import mpl_toolkits.axisartist as aa\nax = plt.figure().add_subplot(axes_class=aa.Axes)\n'
        'ax.plot([1, 2], "r"); ax.axis["left"].label.set_text("y")', {'plot': 1}, ['y'], {'plot': {'#FF0000'}}),
    'Sankey': (
        'from matplotlib.sankey import Sankey\nSankey(flows=[1, -.4, -.6], labels=["in", "a", "b"], fc="r").finish()',
        {'PathPatch': 1}, ['1\nin', '0.4\na', '0.6\nb'], {'PathPatch': {'#FF0000'}}),
    'tick labels are no texts, categories neither': (
        'plt.bar(["apple", "pear"], [1e7, 2e7]); plt.xlabel("fruit")', {'bar': 1}, ['fruit'], None),
    'a call that fails leaves nothing': (
        'try: plt.plot([1, 2], [1, 2, 3])\nexcept ValueError: plt.bar([1], [1], color="r")',
        {'bar': 1}, [], {'bar': {'#FF0000'}}),
    'what is removed, cleared or hidden is not seen': (
        'a, b = plt.plot([1, 2], [2, 3], [1, 2], [1, 1]); a.remove(); b.remove(); plt.bar([1], [1]).remove()\n'
        'plt.scatter([1], [1]).set_visible(False); plt.step([1, 2], [1, 2], "r")',
        {'step': 1}, [], {'step': {'#FF0000'}}),
}


@pytest.mark.parametrize('program, types, texts, colors', KINDS.values(), ids=KINDS.keys())
def test_a_reader_and_the_recorder_see_the_same(run, program, types, texts, colors):
    execution = run(program)
    assert execution.ok, execution.log
    assert dict(execution.elements.chart_types) == types
    if texts is not None:
        assert execution.elements.texts == tuple(sorted('\n'.join(texts).split('\n') if texts else []))
    if colors is not None:
        assert set(execution.elements.colors) == {(name, color) for name, some in colors.items() for color in some}


# Drawn by other libraries: the library, chart types.
LIBRARIES = {
    'seaborn heatmap': (
        'import seaborn as sns\nsns.heatmap(np.eye(3), cmap="Blues", annot=True)',
        'seaborn', {'heatmap': 1, 'colorbar': 1}),
    'seaborn box plot': (
        'import seaborn as sns\nsns.boxplot(x=list("aabb"), y=[1, 2, 3, 4])', 'seaborn', {'boxplot': 1}),
    'seaborn density': (
        'import seaborn as sns\nsns.kdeplot(x=[1, 2, 2, 3], fill=True)', 'seaborn', {'fill_between': 1}),
    'network': (
        'import networkx as nx\n'
        'nx.draw(nx.path_graph(3), pos={0: (0, 0), 1: (1, 1), 2: (2, 0)}, node_color="r", edge_color="b")',
        'networkx', {'scatter': 1, 'LineCollection': 1}),
    'directed network': (
        'import networkx as nx\nnx.draw(nx.DiGraph([(0, 1), (1, 2)]), pos={0: (0, 0), 1: (1, 1), 2: (2, 0)})',
        'networkx', {'scatter': 1, 'FancyArrowPatch': 2}),
    'treemap': ('import squarify\nsquarify.plot([2, 1], color=["r", "b"])', 'squarify', {'bar': 1}),
    'Venn diagram': ('import matplotlib_venn\nmatplotlib_venn.venn2((3, 2, 1))', 'matplotlib_venn', {'PathPatch': 3}),
    'frame of pandas': ('import pandas\npandas.DataFrame({"a": [1, 2], "b": [2, 1]}).plot.bar()', 'pandas', {'bar': 2}),
}


@pytest.mark.parametrize('program, library, types', LIBRARIES.values(), ids=LIBRARIES.keys())
def test_charts_of_other_libraries_are_seen(run, program, library, types):
    if importlib.util.find_spec(library) is None:
        pytest.skip(f'{library} is not installed')
    execution = run(program)
    assert execution.ok, execution.log
    assert dict(execution.elements.chart_types) == types


LAYOUTS = {
    'a grid': ('plt.subplots(2, 2)', ((2, 2, 0, 0, 0, 0), (2, 2, 0, 0, 1, 1), (2, 2, 1, 1, 0, 0), (2, 2, 1, 1, 1, 1))),
    'a cell that spans': ('plt.subplot2grid((2, 3), (0, 1), colspan=2)', ((2, 3, 0, 0, 1, 2),)),
    'colour bars leave the cell of their axes as it is': (
        'f, a = plt.subplots(1, 2); m = a[1].imshow(np.eye(3)); f.colorbar(m, ax=a[1], location="bottom")\n'
        'f.colorbar(m, ax=a[1])', ((1, 2, 0, 0, 0, 0), (1, 2, 0, 0, 1, 1))),
    'a colour bar in a grid within a cell': (
        's = plt.figure().add_gridspec(1, 2)[1].subgridspec(2, 1)\n'
        'a = plt.subplot(s[1]); plt.colorbar(a.imshow(np.eye(3)))',
        ((2, 1, 1, 1, 0, 0),)),
    'a colour bar of the layout engine': (
        'f, a = plt.subplots(1, 2, layout="constrained"); f.colorbar(a[1].imshow(np.eye(3)), ax=a)',
        ((1, 2, 0, 0, 0, 0), (1, 2, 0, 0, 1, 1))),
    'axes without a grid': ('plt.figure().add_axes([.1, .2, .5, .6])', ((0, 0, 2, 12, 4, 16),)),
    'twin axes': ('plt.plot([1, 2]); plt.twinx().plot([2, 1])', ((1, 1, 0, 0, 0, 0),) * 2),
}


@pytest.mark.parametrize('program, layout', LAYOUTS.values(), ids=LAYOUTS.keys())
def test_axes_are_seen_where_the_program_put_them(run, program, layout):
    execution = run(program)
    assert execution.ok, execution.log
    assert execution.elements.layout == layout


# Programs that do more than plot; each assertion holds in plain Python with Agg. What the figure's title is at the end.
BEHAVIOURS = {
    'signatures and names': (
        'import inspect\n'
        'assert plt.Axes.bar.__name__ == "bar" and "height" in inspect.signature(plt.Axes.bar).parameters\n'
        'assert inspect.signature(plt.Figure.savefig).parameters["fname"]\nplt.title("ok")'),
    'pickled figure': (
        'import pickle\n'
        'plt.title("ok"); f = pickle.loads(pickle.dumps(plt.gcf())); plt.close("all"); f.savefig("x.png")'),
    'copied artist': 'import copy\nl, = plt.plot([1, 2]); m = copy.copy(l); m.axes is l.axes; plt.title("ok")',
    'figure class of the program': (
        'class F(plt.Figure):\n  def savefig(self, *a, **k): super().savefig(*a, **k)\n'
        'plt.figure(FigureClass=F); plt.title("ok"); plt.savefig("x.png")'),
    'figure without pyplot': (
        'from matplotlib.backends.backend_agg import FigureCanvasAgg\nimport io\nf = matplotlib.figure.Figure()\n'
        'f.add_subplot().set_title("ok"); b = io.BytesIO(); FigureCanvasAgg(f).print_png(b)\n'
        'assert b.getvalue()[1:4] == b"PNG"'),
    'figure without pyplot that is only drawn': (
        'from matplotlib.backends.backend_agg import FigureCanvasAgg\n'
        'f = matplotlib.figure.Figure(); c = FigureCanvasAgg(f)\n'
        'f.add_subplot().set_title("ok"); c.draw(); assert np.asarray(c.buffer_rgba()).min() < 255'),
    'saved to a buffer': (
        'import io\nb = io.BytesIO(); plt.title("ok"); plt.savefig(b, format="svg"); assert b"svg" in b.getvalue()'),
    'saved as PDF and SVG': 'plt.title("ok"); plt.savefig("x.pdf"); plt.gcf().savefig("x.svg", bbox_inches="tight")',
    'saved file read back': (
        'plt.plot([1, 2]); plt.savefig("x"); i = plt.imread("x.png"); assert i.std() > 0; plt.title("ok")'),
    'saved file exists': (
        'import os\nos.mkdir("out"); plt.title("ok"); plt.savefig("out/x.png"); assert os.path.exists("out/x.png")\n'
        'os.rename("out/x.png", "y.png"); os.remove("y.png")'),
    'saved file opened by its owner': (
        'from PIL import Image\nplt.title("ok"); plt.savefig("x.png", dpi=50)\n'
        'assert Image.open("x.png").size == (320, 240)'),
    'closed before the end': 'plt.title("ok"); plt.savefig("x.png"); plt.close("all")',
    'several saved, the last counts': (
        'for t in ("a", "ok"): plt.figure(); plt.title(t); plt.savefig(t + ".png"); plt.close()'),
    'axes cleared after each save': (
        'f, ax = plt.subplots()\nfor t in ("a", "ok"): ax.set_title(t); f.savefig(t + ".png"); ax.clear()'),
    'several pages': (
        'from matplotlib.backends.backend_pdf import PdfPages\nwith PdfPages("x.pdf") as p:\n'
        '  for t in ("a", "ok"): plt.figure(); plt.title(t); p.savefig(); plt.close()'),
    'shown only': 'plt.title("ok"); plt.show(block=True)',
    'animated': (
        'from matplotlib.animation import FuncAnimation\nl, = plt.plot([1, 2]); plt.title("ok"); '
        'a = FuncAnimation(plt.gcf(), lambda i: l.set_ydata([i, 1]), frames=3)\nplt.show()'),
    'animation saved': (
        'from matplotlib.animation import FuncAnimation, PillowWriter\nl, = plt.plot([1, 2]); plt.title("ok")\n'
        'FuncAnimation(plt.gcf(), lambda i: l.set_ydata([i, 1]), frames=3).save("x.gif", writer=PillowWriter())'),
    'widgets': (
        'from matplotlib.widgets import Button\n'
        'plt.title("ok"); b = Button(plt.axes([.8, 0, .1, .1]), ""); b.on_clicked(print)'),
    'interactive': (
        'plt.ion(); plt.title("ok"); plt.draw(); plt.pause(30); assert plt.ginput(1, timeout=30) == []; '
        'plt.waitforbuttonpress()'),
    'main guard': 'if __name__ == "__main__": plt.title("ok")',
    'class of the program pickled': (
        'import pickle, sys, __main__\nclass A: title = "ok"\n'
        'plt.title(pickle.loads(pickle.dumps(A())).title)\n'
        'assert __main__.A is A and sys.argv == [__file__.split("/")[-1]]'),
    'command line': 'import argparse; argparse.ArgumentParser().parse_args(); plt.title("ok")',
    'wrapped text': 'plt.figure(figsize=(2, 2)).text(.5, .5, "ok", wrap=True)',
    'style': 'plt.style.use("ggplot")\nwith plt.rc_context({"lines.linewidth": 3}): plt.title("ok")',
    'window backend': (
        'matplotlib.use("TkAgg"); plt.switch_backend("QtAgg"); plt.title("ok"); '
        'assert matplotlib.get_backend().lower() == "agg"'),
    'paper backend': 'matplotlib.use("pdf"); plt.title("ok"); plt.tight_layout(); plt.savefig("x.pdf")',
    'unknown backend': 'try: matplotlib.use("nothing")\nexcept ValueError: plt.title("ok")',
    'window of the manager': (
        'm = plt.get_current_fig_manager(); m.set_window_title("w")\ntry: m.window.maximize()\n'
        'except AttributeError: plt.title("ok")'),
    'plots in threads': (
        'import threading\nt = threading.Thread(target=plt.gca().set_title, args=("ok",)); t.start(); t.join()'),
    'errors of savefig to a buffer': (
        'import io\ntry: plt.savefig(io.BytesIO(), format="nothing")\nexcept ValueError: plt.title("ok")'),
    'generators made without a seed differ': (
        'import random\na, b = np.random.default_rng(), np.random.default_rng(); assert a.random() != b.random()\n'
        'assert random.Random().random() != random.Random().random(); plt.title("ok")'),
    'warnings as errors': 'import warnings\nwarnings.simplefilter("error"); plt.title("ok"); plt.savefig("x.png")',
}


@pytest.mark.parametrize('program', BEHAVIOURS.values(), ids=BEHAVIOURS.keys())
def test_programs_behave_as_in_plain_python(run, program):
    execution = run(program)
    assert execution.ok, execution.log
    assert execution.elements.texts == ('ok',)


GENERATORS = {
    'keyword': 'np.random.default_rng(seed=3).random()', 'none': 'np.random.default_rng(seed=None).random()',
    'no seed': 'np.random.default_rng().random()',
    'bit generator': 'np.random.default_rng(np.random.PCG64(3)).random()',
    'seed sequence': 'np.random.default_rng(np.random.SeedSequence(3)).random()',
    'bits': 'np.random.Generator(np.random.PCG64()).random()', 'state': 'np.random.RandomState().rand()',
    'entropy': 'np.random.SeedSequence().entropy', 'global': 'np.random.rand()',
    'seeded anew': '(np.random.seed(), np.random.rand())', 'python': 'random.random()',
    'python anew': '(random.seed(), random.random())', 'python generator': 'random.Random().random()',
    'system': 'random.SystemRandom().random()', 'uuid': 'uuid.uuid4()', 'bytes of the system': 'os.urandom(4)',
    'secrets': 'secrets.token_hex(4)',
}


RANDOM = 'import os, random, secrets, uuid\n' + ''.join(
    f'plt.gcf().text(.02, {(i + .5) / len(GENERATORS)}, str({one}), parse_math=False)\n'
    for i, one in enumerate(GENERATORS.values()))


def test_all_random_numbers_repeat_with_the_seed(run):
    with Sandbox(workers=1, limits=Limits(seconds=60), seed=SEED) as pool:
        again = pool.execute(HEAD + RANDOM)
    with Sandbox(workers=1, limits=Limits(seconds=60), seed=SEED + 1) as pool:
        other = pool.execute(HEAD + RANDOM)
    assert run(RANDOM).ok and again.ok and other.ok, again.log
    drawn = run(RANDOM).elements.texts
    assert len(drawn) == len(GENERATORS) and drawn == again.elements.texts
    # Three of them are given the seed 3 and draw one number.
    assert len(set(drawn) & set(other.elements.texts)) == 1 and len(set(drawn)) == len(GENERATORS) - 2
