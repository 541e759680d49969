"""Hooks in matplotlib that note what a program plots, saves and writes as text.

The one place that replaces functions of another library: plotting calls leave no complete trace in a figure (a bar
call and ten rectangles look the same), so they are noted when they happen. Wrappers keep `__name__` and the
signature, because seaborn dispatches on them. Works on matplotlib 3.8 to 3.11.

    plotting methods     outermost calls that return, with the artists they returned or added
    annotating methods   not noted, nor what they add
    colour bars          counted as such; what they draw in their axes by themselves is not a plot
    Figure.savefig       notes the figure; to a path, the file is written when the program opens it
    canvas.print_...     notes the figure
    canvas.draw          notes the figure, for programs that use no pyplot
    Figure.clear         lets the caller draw a saved figure before it is emptied; so does Axes.clear
    canvas.draw_idle     nothing: under Agg it is a whole extra draw
    canvas event loop    ends at once: there is no user to wait for
    switch_backend       Agg where the backend cannot be loaded
    Text.draw            texts as drawn, without those of ticks
"""

import builtins
import contextlib
import functools
import io
import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import matplotlib.axes
import matplotlib.axis
import matplotlib.backend_bases
import matplotlib.backends.backend_agg
import matplotlib.colorbar
import matplotlib.figure
import matplotlib.projections.polar
import matplotlib.pyplot
import matplotlib.text
import mpl_toolkits.mplot3d
import numpy as np
import numpy.random.bit_generator

from recoder_jax.charts.chart_types import ADDING, ANNOTATING, PLOTTING, type_of_artist, type_of_call

_PRINTING = ('print_figure', 'print_png', 'print_raw', 'print_rgba', 'print_jpg', 'print_jpeg', 'print_tif',
             'print_tiff', 'print_webp', 'print_to_buffer')


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
        shown: the figure that was current at the last `pyplot.show`, or drawn after it.
        before_clear: called with a figure that was saved, before it is emptied.
        chartmimic: the hooks of the score mode of that name, where they are installed.
        fingerprint: of the functions that a draw goes through, where it was taken.
    """

    calls: list[Call] = field(default_factory=list)
    texts: list[tuple[matplotlib.text.Text, str]] = field(default_factory=list)
    saved: matplotlib.figure.Figure | None = None
    shown: matplotlib.figure.Figure | None = None
    before_clear: Callable[[matplotlib.figure.Figure], None] | None = None
    chartmimic: object | None = None
    fingerprint: object | None = None
    _unwritten: dict[str, Callable[[], None]] = field(default_factory=dict)
    _depth: int = 0
    _ticks: int = 0

    def install(self) -> None:
        """Replaces the functions; once per process."""
        for base in (matplotlib.axes.Axes, matplotlib.projections.polar.PolarAxes, mpl_toolkits.mplot3d.Axes3D):
            for kind in base.__mro__:
                if kind is object or not kind.__module__.startswith(('matplotlib', 'mpl_toolkits')):
                    continue
                for name, chart_type in PLOTTING.items():
                    self._wrap_method(kind, name, lambda added, one=chart_type: type_of_call(one, added))
                for name in ADDING:
                    self._wrap_method(kind, name, type_of_artist)
                for name in ANNOTATING:
                    self._wrap_method(kind, name, lambda added: None)
        self._wrap_colorbar()
        self._wrap_saving()
        self._wrap_clearing()
        self._wrap_canvas()
        self._wrap_pyplot()
        self._wrap_texts()

    @property
    def in_tick(self) -> bool:
        """Whether a tick is being drawn."""
        return self._ticks > 0

    def reset(self) -> None:
        """Forgets everything noted."""
        self.calls.clear()
        self.texts.clear()
        self._unwritten.clear()
        self.saved = self.shown = self.before_clear = None

    def _wrap_method(self, kind: type, name: str, type_of: Callable[[object], str | None]) -> None:
        original = vars(kind).get(name)
        # A class of the mro comes up several times, and one method has several names (plot3D is plot).
        if not callable(original) or hasattr(original, 'recorded_original'):
            return

        @functools.wraps(original)
        def method(axes, *args, **kwargs):
            if self._depth:
                return original(axes, *args, **kwargs)
            before = len(axes._children)
            self._depth += 1
            try:
                result = original(axes, *args, **kwargs)
            finally:
                self._depth -= 1
            added = _added(result, axes, before)
            if (chart_type := type_of(added)) is not None:
                self.calls.append(Call(axes, chart_type, added))
            return result

        method.recorded_original = original
        setattr(kind, name, method)

    def _nested(self, original: Callable) -> Callable:
        """The function with its plotting calls unnoted."""

        @functools.wraps(original)
        def function(*args, **kwargs):
            self._depth += 1
            try:
                return original(*args, **kwargs)
            finally:
                self._depth -= 1

        return function

    def _wrap_colorbar(self) -> None:
        kind = matplotlib.colorbar.Colorbar
        for name in ('_draw_all', 'add_lines'):      # also called by a later change of the limits or the colormap
            setattr(kind, name, self._nested(vars(kind)[name]))
        original = self._nested(kind.__init__)

        @functools.wraps(original)
        def init(colorbar, *args, **kwargs):
            original(colorbar, *args, **kwargs)
            if not self._depth:
                self.calls.append(Call(colorbar.ax, 'colorbar', None))

        kind.__init__ = init

    def _wrap_saving(self) -> None:
        savefig = matplotlib.figure.Figure.savefig

        @functools.wraps(savefig)
        def record_save(figure, fname, **kwargs):
            self.saved = figure
            if callable(getattr(fname, 'write', None)):
                savefig(figure, fname, **kwargs)
            elif isinstance(fname, str | bytes | os.PathLike):
                path = _path_written(os.fsdecode(fname), kwargs.get('format'))
                self._write_when_opened(path, lambda: savefig(figure, path, **kwargs))

        matplotlib.figure.Figure.savefig = record_save

    def _write_when_opened(self, path: str, write: Callable[[], None]) -> None:
        """Most programs never look at the file they save. An empty one stands for it until it is opened."""
        with contextlib.suppress(OSError), open(path, 'wb'):
            pass
        if not self._unwritten:
            self._wrap_open()
        self._unwritten[path] = write

    def _wrap_open(self) -> None:
        original = io.open
        if hasattr(original, 'recorded_original'):
            return

        @functools.wraps(original)
        def record_open(file, *args, **kwargs):
            if self._unwritten and isinstance(file, str | bytes | os.PathLike):
                write = self._unwritten.pop(os.path.abspath(os.fsdecode(file)), None)
                if write is not None:
                    saved = self.saved
                    write()
                    self.saved = saved
            return original(file, *args, **kwargs)

        record_open.recorded_original = original
        builtins.open = io.open = record_open

    def _wrap_clearing(self) -> None:
        figure_clear = matplotlib.figure.Figure.clear
        base = matplotlib.axes.Axes.__mro__[1]
        axes_clear = base.clear

        @functools.wraps(figure_clear)
        def record_clear(figure, *args, **kwargs):
            if figure is self.saved and self.before_clear is not None:
                self.before_clear(figure)
            figure_clear(figure, *args, **kwargs)

        @functools.wraps(axes_clear)
        def record_axes_clear(axes):
            # Axes are cleared when they are made as well: then they are not in the figure.
            figure = self.saved
            if figure is not None and self.before_clear is not None and self._unwritten and axes in figure.axes:
                self.before_clear(figure)
            axes_clear(axes)

        matplotlib.figure.Figure.clear = record_clear
        base.clear = record_axes_clear

    def _wrap_canvas(self) -> None:
        base, agg = matplotlib.backend_bases.FigureCanvasBase, matplotlib.backends.backend_agg.FigureCanvasAgg

        def noting(original, note):
            @functools.wraps(original)
            def method(canvas, *args, **kwargs):
                note(canvas.figure)
                return original(canvas, *args, **kwargs)
            return method

        for kind in (base, agg):
            for name in _PRINTING:
                if name in vars(kind):
                    setattr(kind, name, noting(vars(kind)[name], functools.partial(setattr, self, 'saved')))
        agg.draw = noting(agg.draw, functools.partial(setattr, self, 'shown'))

        def draw_nothing(canvas, *args, **kwargs):
            """A draw at a later, idle moment: there is none."""

        def wait_for_nobody(canvas, timeout=0):
            """Events until the timeout: there are none."""

        base.draw_idle, base.start_event_loop = draw_nothing, wait_for_nobody

    def _wrap_pyplot(self) -> None:
        show, switch = matplotlib.pyplot.show, matplotlib.pyplot.switch_backend

        @functools.wraps(show)
        def record_show(*args, **kwargs):
            if matplotlib.pyplot.get_fignums():
                self.shown = matplotlib.pyplot.gcf()

        @functools.wraps(switch)
        def switch_or_stay(newbackend):
            try:
                switch(newbackend if isinstance(newbackend, str) else 'agg')
            except ImportError:      # windows, which no program has here
                switch('agg')

        matplotlib.pyplot.show = record_show
        matplotlib.pyplot.switch_backend = switch_or_stay

    def _wrap_texts(self) -> None:
        draw_text, draw_tick = matplotlib.text.Text.draw, matplotlib.axis.Tick.draw

        @functools.wraps(draw_text)
        def record_text(text, renderer, *args, **kwargs):
            draw_text(text, renderer, *args, **kwargs)
            if not self._ticks and text.get_visible() and text.get_alpha() != 0:
                # Wrapped as drawn: the width to wrap to is known with the renderer of the draw.
                self.texts.append((text, text._get_wrapped_text() if text.get_wrap() else text.get_text()))

        @functools.wraps(draw_tick)
        def mark_tick(tick, renderer, *args, **kwargs):
            self._ticks += 1
            try:
                draw_tick(tick, renderer, *args, **kwargs)
            finally:
                self._ticks -= 1

        matplotlib.text.Text.draw = record_text
        matplotlib.axis.Tick.draw = mark_tick


def _added(result: object, axes: matplotlib.axes.Axes, before: int) -> object:
    """What a plotting call returned, or, where that holds no artist (psd), what it added to the axes."""
    if result is None or (isinstance(result, tuple) and all(isinstance(part, np.ndarray | None) for part in result)):
        return axes._children[before:]
    return result


def _path_written(path: str, extension: str | None) -> str:
    """The file that savefig writes: a name without an extension gets one."""
    if not os.path.splitext(path)[1]:
        path = f'{path.rstrip(".")}.{extension or matplotlib.rcParams["savefig.format"]}'
    return os.path.abspath(path)


def seed_generators(seed: int) -> None:
    """Seeds every generator of Python and numpy, also those the program makes without a seed from here on.

    Processes forked from one server would otherwise share one state, or have none that repeats. The entropy that
    numpy and the modules random, uuid and secrets take from the system comes from a stream of its own.
    """
    entropy = random.Random(f'entropy {seed}')
    seed_python = random.Random.seed

    @functools.wraps(seed_python)
    def seed_or_repeat(generator, a=None, version=2):
        seed_python(generator, entropy.getrandbits(128) if a is None else a, version)

    @functools.wraps(os.urandom)
    def urandom(size, /):
        return entropy.randbytes(size)

    random.Random.seed = seed_or_repeat
    random.seed = random._inst.seed
    os.urandom = random._urandom = urandom
    numpy.random.bit_generator.randbits = entropy.getrandbits
    random.seed(seed)
    np.random.seed(seed)
