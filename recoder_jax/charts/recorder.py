"""Hooks in matplotlib that note what a program plots, saves and writes as text.

The one place that replaces functions of another library: plotting calls leave no complete trace in a figure (a bar
call and ten rectangles look the same), so they are noted when they happen. Wrappers keep `__name__`, because seaborn
dispatches on it. Works on matplotlib 3.8 to 3.11.

    plotting methods    outermost calls that return, with the artists they returned
    colour bars         counted as such; what they draw in their axes is not a plot
    Figure.savefig      notes the figure; writes only to an open file object
    Figure.clear        lets the caller draw a saved figure before it is emptied
    canvas.draw_idle    nothing: under Agg it is a whole extra draw
    Text.draw           texts as drawn, without those of ticks
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass, field

import matplotlib.artist
import matplotlib.axes
import matplotlib.axis
import matplotlib.backend_bases
import matplotlib.colorbar
import matplotlib.figure
import matplotlib.projections.polar
import matplotlib.pyplot
import matplotlib.text
import mpl_toolkits.mplot3d
import numpy as np

# Method of an axes class -> name of the chart type. A line in logarithmic axes is a line, an image shown by matshow
# is an image.
_PLOTTING = {name: name for name in (
    'acorr', 'angle_spectrum', 'arrow', 'axhline', 'axhspan', 'axline', 'axvline', 'axvspan', 'bar', 'bar3d', 'barbs',
    'barh', 'boxplot', 'broken_barh', 'bxp', 'cohere', 'contour', 'contourf', 'csd', 'errorbar', 'eventplot', 'fill',
    'fill_between', 'fill_betweenx', 'grouped_bar', 'hexbin', 'hist', 'hist2d', 'hlines', 'imshow',
    'magnitude_spectrum', 'pcolor', 'pcolormesh', 'phase_spectrum', 'pie', 'plot', 'plot_surface', 'plot_trisurf',
    'plot_wireframe', 'psd', 'quiver', 'scatter', 'specgram', 'spy', 'stackplot', 'stairs', 'stem', 'step',
    'streamplot', 'table', 'tricontour', 'tricontourf', 'tripcolor', 'triplot', 'violin', 'violinplot', 'vlines',
    'voxels', 'xcorr')}
_SAME_TYPE = {
    'loglog': 'plot', 'semilogx': 'plot', 'semilogy': 'plot', 'plot_date': 'plot', 'plot3D': 'plot',
    'scatter3D': 'scatter', 'contour3D': 'contour', 'contourf3D': 'contourf', 'quiver3D': 'quiver', 'stem3D': 'stem',
    'matshow': 'imshow', 'pcolorfast': 'pcolormesh', 'bxp': 'boxplot', 'violin': 'violinplot'}
# Methods that add one artist: the chart type is the class of the artist.
_ADDING = ('add_artist', 'add_collection', 'add_collection3d', 'add_image', 'add_line', 'add_patch')


@dataclass(frozen=True, eq=False)
class Call:
    """One outermost plotting call: its axes, the chart type and what it returned."""

    axes: matplotlib.axes.Axes
    name: str
    result: object


@dataclass(eq=False)
class Recorder:
    """What has been noted in this process.

    Attributes:
        calls: outermost plotting calls in order.
        texts: (artist, text) of drawn texts since the list was last emptied, ticks left out.
        saved: the figure saved last.
        shown: the figure that was current at the last `pyplot.show`.
        before_clear: called with a figure that was saved, before it is emptied.
    """

    calls: list[Call] = field(default_factory=list)
    texts: list[tuple[matplotlib.text.Text, str]] = field(default_factory=list)
    saved: matplotlib.figure.Figure | None = None
    shown: matplotlib.figure.Figure | None = None
    before_clear: Callable[[matplotlib.figure.Figure], None] | None = None
    _depth: int = 0
    _ticks: int = 0

    def install(self) -> None:
        """Replaces the functions; once per process."""
        for base in (matplotlib.axes.Axes, matplotlib.projections.polar.PolarAxes, mpl_toolkits.mplot3d.Axes3D):
            for kind in base.__mro__:
                if kind is object or not kind.__module__.startswith(('matplotlib', 'mpl_toolkits')):
                    continue
                for name, chart_type in (_PLOTTING | _SAME_TYPE).items():
                    self._wrap_method(kind, name, chart_type)
                for name in _ADDING:
                    self._wrap_method(kind, name, None)
        self._wrap_colorbar()
        self._wrap_figure()
        self._wrap_texts()

    def reset(self) -> None:
        """Forgets everything noted."""
        self.calls.clear()
        self.texts.clear()
        self.saved = self.shown = self.before_clear = None

    def _wrap_method(self, kind: type, name: str, chart_type: str | None) -> None:
        original = vars(kind).get(name)
        # A class of the mro comes up several times, and one method has several names (plot3D is plot).
        if not callable(original) or hasattr(original, 'recorded_original'):
            return

        @functools.wraps(original)
        def method(axes, *args, **kwargs):
            if self._depth:
                return original(axes, *args, **kwargs)
            self._depth += 1
            try:
                result = original(axes, *args, **kwargs)
            finally:
                self._depth -= 1
            added = result if result is not None else args[0] if args else None
            self.calls.append(Call(axes, chart_type or type(added).__name__, result if chart_type else added))
            return result

        method.recorded_original = original
        setattr(kind, name, method)

    def _wrap_colorbar(self) -> None:
        original = matplotlib.colorbar.Colorbar.__init__

        @functools.wraps(original)
        def init(colorbar, *args, **kwargs):
            self._depth += 1
            try:
                original(colorbar, *args, **kwargs)
            finally:
                self._depth -= 1
            if not self._depth:
                self.calls.append(Call(colorbar.ax, 'colorbar', None))

        matplotlib.colorbar.Colorbar.__init__ = init

    def _wrap_figure(self) -> None:
        savefig, clear = matplotlib.figure.Figure.savefig, matplotlib.figure.Figure.clear

        @functools.wraps(savefig)
        def record_save(figure, fname, **kwargs):
            self.saved = figure
            if callable(getattr(fname, 'write', None)):
                savefig(figure, fname, **kwargs)

        @functools.wraps(clear)
        def record_clear(figure, *args, **kwargs):
            if figure is self.saved and self.before_clear is not None:
                self.before_clear(figure)
            clear(figure, *args, **kwargs)

        def draw_nothing(canvas, *args, **kwargs):
            """A draw at a later, idle moment: there is none."""

        def record_show(*args, **kwargs):
            if matplotlib.pyplot.get_fignums():
                self.shown = matplotlib.pyplot.gcf()

        matplotlib.figure.Figure.savefig = record_save
        matplotlib.figure.Figure.clear = record_clear
        matplotlib.backend_bases.FigureCanvasBase.draw_idle = draw_nothing
        matplotlib.pyplot.show = record_show

    def _wrap_texts(self) -> None:
        draw_text, draw_tick = matplotlib.text.Text.draw, matplotlib.axis.Tick.draw

        @functools.wraps(draw_text)
        def record_text(text, renderer, *args, **kwargs):
            if not self._ticks and text.get_visible() and text.get_alpha() != 0:
                self.texts.append((text, text.get_text()))
            draw_text(text, renderer, *args, **kwargs)

        @functools.wraps(draw_tick)
        def mark_tick(tick, renderer, *args, **kwargs):
            self._ticks += 1
            try:
                draw_tick(tick, renderer, *args, **kwargs)
            finally:
                self._ticks -= 1

        matplotlib.text.Text.draw = record_text
        matplotlib.axis.Tick.draw = mark_tick


def seed_generators(seed: int) -> None:
    """Seeds numpy's global generator and every `default_rng()` made without a seed from now on.

    Processes forked from one server would otherwise share one state, or have none that repeats.
    """
    np.random.seed(seed)
    original, made = np.random.default_rng, iter(range(1 << 62))

    @functools.wraps(original)
    def default_rng(seed_of_program=None):
        return original([seed, next(made)] if seed_of_program is None else seed_of_program)

    np.random.default_rng = default_rng
