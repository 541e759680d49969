"""What a fork server imports and fills before it forks, so that every program starts with it.

    modules   what programs import, where it is installed; the imports of matplotlib come first, so that their objects
              lie together and few pages are copied when a program counts references to them
    fonts     `fonts`, figures `warm_figures`, memory `heap`
"""

import contextlib
import gc
import importlib
import re
import warnings
from collections.abc import Sequence

from recoder_jax.charts import fonts

# In the order of import, where installed. A program that may open no file can import these only.
MODULES = (
    'mpl_toolkits.mplot3d', 'mpl_toolkits.axes_grid1', 'mpl_toolkits.axes_grid1.inset_locator', 'matplotlib.animation',
    'matplotlib.dates', 'matplotlib.gridspec', 'matplotlib.patheffects', 'matplotlib.sankey', 'matplotlib.table',
    'matplotlib.tri', 'matplotlib.widgets', 'calendar', 'csv', 'datetime', 'io', 'itertools', 'math', 'random',
    'statistics', 'string', 'textwrap', 'numpy.random', 'numpy.ma', 'numpy.fft', 'numpy.polynomial')
# Importing these takes a program 0.1 to 0.7 s each. There before the fork, they make each fork and end of a process
# dearer, by about a twentieth of a small program; so programs that name one run in a fork server of their own.
SCIENCE = (
    'scipy.interpolate', 'scipy.ndimage', 'scipy.signal', 'scipy.stats', 'pandas', 'pandas.plotting', 'networkx',
    'seaborn', 'squarify', 'matplotlib_venn')
_PACKAGES = sorted({name.partition('.')[0] for name in SCIENCE})
_NAMES_SCIENCE = re.compile(r'\b({})\b'.format('|'.join(_PACKAGES)).encode())
_MAX_PIXELS = 1_000_000


def names_science(program: bytes) -> bool:
    """Whether the text of a program names a package of SCIENCE. One that imports it unnamed only takes longer."""
    return _NAMES_SCIENCE.search(program) is not None


def warm_up(science: bool, replay: bool):
    """Imports what programs import, with `science` also SCIENCE, draws what they draw the way they do, and settles the memory.

    Returns the module `job` and an installed Recorder. The imports stand here because namespaces have to be entered
    before them.
    """
    import matplotlib
    matplotlib.use('Agg')
    fonts.keep_in_memory()

    from recoder_jax.charts import heap, job, picture, replayer, warm_figures
    from recoder_jax.charts.chartmimic_recorder import ChartMimicRecorder
    from recoder_jax.charts.recorder import Recorder
    from recoder_jax.charts.tamper import Fingerprint

    import_modules((*MODULES, *SCIENCE) if science else MODULES)
    recorder = Recorder()
    recorder.install()
    recorder.chartmimic = ChartMimicRecorder()
    recorder.chartmimic.install()
    recorder.fingerprint = Fingerprint()
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        for figure in warm_figures.warm_figures():
            drawn = picture.take_picture(figure, recorder, _MAX_PIXELS, replay)
            if replay:
                replayer.replay(drawn.draw_list, _MAX_PIXELS)
            recorder.reset()
            recorder.chartmimic.reset()
    matplotlib.rcdefaults()
    matplotlib.use('Agg')
    del figure
    heap.settle()
    gc.set_threshold(10_000, 20, 50)      # a program lives for a moment; collecting touches shared pages
    return job, recorder


def import_modules(names: Sequence[str]) -> list[str]:
    """Imports modules; the names of those that are there."""
    there = []
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        for name in names:
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
                there.append(name)
    return there


def font_folders() -> list[str]:
    """The folders of the fonts matplotlib knows."""
    return fonts.folders()
