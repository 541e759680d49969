"""Hooks that note in one execution what ChartMimic's four evaluators note in four; `chartmimic` says what that is.

The second place that replaces functions of another library (`recorder` is the first). Wrappers keep `__name__`, because
seaborn dispatches on it. Theirs has two flags, one for calls and one for colours, each set while a listed function
runs; a function listed for both gets one wrapper here. Works on matplotlib 3.8 to 3.11.

    listed functions     calls and colours, outermost only, a flag each; an exception leaves the flag set
    Figure.draw          forgets the texts of the draw before
    Text.draw            the text as drawn
    Figure.savefig       counts PDFs that the program saves by other means than pyplot.savefig

The notes live in the process of the program: it can change them (`sandbox` says what that means for the mode).
"""

import functools
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

import matplotlib.axes
import matplotlib.axes._base
import matplotlib.axis
import matplotlib.figure
import matplotlib.image
import matplotlib.patches
import matplotlib.pyplot
import matplotlib.text
import matplotlib.ticker
import mpl_toolkits.mplot3d
import numpy as np
from matplotlib.projections.polar import PolarAxes

from recoder_jax.charts import chartmimic_readers as readers
from recoder_jax.charts.chartmimic import (
    MAX_AXES, MAX_CHARACTERS, MAX_CHART_TYPES, MAX_COLORS, MAX_NAME_LENGTH, MAX_PLACE, MAX_TEXT_LENGTH, MAX_TEXTS,
    ChartMimicElements)

# Axes methods whose calls are counted, under their own name in 2D; 3D methods that theirs cannot tell from them.
_COUNTED = (
    'axhline', 'axhspan', 'axvline', 'axvspan', 'bar', 'barh', 'boxplot', 'broken_barh', 'contour', 'contourf',
    'errorbar', 'fill', 'fill_between', 'fill_betweenx', 'hist', 'hlines', 'imshow', 'pcolor', 'pie', 'plot', 'quiver',
    'scatter', 'tripcolor', 'violin', 'violinplot', 'vlines')
_COUNTED_3D = {'scatter': 'scatter', 'bar': 'bar', 'bar3d': 'bar3d', 'plot': 'plot_3d', 'plot_surface': 'plot_surface',
               'add_collection3d': 'add_collection3d'}


@dataclass(eq=False)
class ChartMimicRecorder:
    """What has been noted in this process. `install` once, `reset` before a program, `elements` after a draw."""

    _calls: Counter = field(default_factory=Counter)
    _objects: dict[tuple[str, str], tuple[object, readers.Read]] = field(default_factory=dict)
    _texts: list[tuple[matplotlib.text.Text, str]] = field(default_factory=list)
    _pdfs: Counter = field(default_factory=Counter)
    _in_call: bool = False
    _in_color: bool = False
    _in_pyplot: bool = False

    def install(self) -> None:
        """Replaces the functions; once per process, after `Recorder.install`."""
        axes, solid = matplotlib.axes.Axes, mpl_toolkits.mplot3d.Axes3D
        for name in _COUNTED:
            self._wrap(axes, name, name, name if name in readers.COLORS else None, readers.COLORS.get(name))
        self._wrap(axes, '_fill_between_x_or_y', None, 'fill_between', readers.first_face)
        self._wrap(PolarAxes, 'plot', None, 'plot_polar', readers.polar_lines)
        for name, counted in _COUNTED_3D.items():
            self._wrap(solid, name, counted, f'{name}_3d', readers.COLORS_3D[name])
        lines = matplotlib.axes._base._process_plot_var_args
        made = '_make_line' if hasattr(lines, '_make_line') else '_makeline'      # the name until matplotlib 3.10
        self._wrap(lines, made, None, 'line', readers.made_line)
        image = matplotlib.image.NonUniformImage
        self._wrap(image, '__init__', 'nonuniform_image', 'nonuniform_image', readers.own_colormap)
        # Both constructors lie in one file: theirs counts them as one function.
        self._wrap(matplotlib.patches.Ellipse, '__init__', 'ellipse', 'ellipse', readers.own_face)
        self._wrap(matplotlib.patches.Circle, '__init__', 'ellipse', 'ellipse', readers.own_face)
        self._install_others()
        self._wrap_draws()
        self._wrap_saves()

    def _install_others(self) -> None:
        """The libraries that are imported: the fork server for programs that name them has done so (`warm.SCIENCE`)."""
        if (squarify := sys.modules.get('squarify')) is not None:
            self._wrap(squarify, 'plot', 'squarify', 'squarify', readers.containers)
        if (venn := sys.modules.get('matplotlib_venn._common')) is not None:
            self._wrap(venn.VennDiagram, '__init__', 'venn', 'venn', readers.venn)
        for module in ('networkx', 'networkx.drawing.nx_pylab'):
            if module in sys.modules:
                for name, parts in (('nodes', readers.faces), ('edges', readers.edges), ('labels', readers.labels)):
                    name = f'draw_networkx_{name}'
                    self._wrap(sys.modules[module], name, name, name, parts)

    def reset(self) -> None:
        """Forgets everything noted."""
        for notes in (self._calls, self._objects, self._texts, self._pdfs):
            notes.clear()
        self._in_call = self._in_color = self._in_pyplot = False

    def _wrap(self, owner: object, name: str, counted: str | None, colored: str | None,
              parts: readers.Parts | None) -> None:
        """Notes calls of `owner.name` as `counted` and its colours as of the function `colored`; None: not at all."""
        original = getattr(owner, name)

        @functools.wraps(original)
        def noting(*args, **kwargs):
            counts, colors = counted and not self._in_call, colored and not self._in_color
            if counts:
                self._in_call = True
                polar = counted == 'plot' and args and type(args[0]) is PolarAxes
                self._calls['plot_polar' if polar else counted] += 1
            if colors:
                self._in_color = True
            result = original(*args, **kwargs)      # no `finally`: theirs leaves its flags set after an exception
            if colors:
                self._note_colors(colored, parts, readers.Call(args, kwargs, result))
                self._in_color = False
            if counts:
                self._in_call = False
            return result

        setattr(owner, name, noting)

    def _note_colors(self, function: str, parts: readers.Parts, call: readers.Call) -> None:
        """Objects under their last colour at this moment. What cannot be read is left out: a hook never fails."""
        with suppress(Exception):
            if function == 'scatter' and type(call.args[0]) is PolarAxes:
                function = 'scatter_polar'
            for thing, read in parts(call):
                colors = read(thing)
                if len(colors):
                    self._objects[function, readers.name_of(colors[-1])] = thing, read

    def _wrap_draws(self) -> None:
        draw_figure, draw_text = matplotlib.figure.Figure.draw, matplotlib.text.Text.draw

        @functools.wraps(draw_figure)
        def start_over(figure, renderer):
            self._texts.clear()
            draw_figure(figure, renderer)

        @functools.wraps(draw_text)
        def note_text(text, renderer, *args, **kwargs):
            draw_text(text, renderer, *args, **kwargs)
            # Wrapping needs the renderer, which a text knows after its first draw.
            if text.get_visible() and len(self._texts) < MAX_TEXTS:
                self._texts.append((text, text._get_wrapped_text() if text.get_wrap() else text.get_text()))

        matplotlib.figure.Figure.draw = start_over
        matplotlib.text.Text.draw = note_text

    def _wrap_saves(self) -> None:
        save_figure, save = matplotlib.figure.Figure.savefig, matplotlib.pyplot.savefig

        @functools.wraps(save_figure)
        def count_pdf(figure, fname, *args, **kwargs):
            if not self._in_pyplot and str(kwargs.get('format') or fname).lower().endswith('pdf'):
                self._pdfs[figure] += 1
            return save_figure(figure, fname, *args, **kwargs)

        @functools.wraps(save)
        def save_current(*args, **kwargs):
            self._in_pyplot = True
            try:
                return save(*args, **kwargs)
            finally:
                self._in_pyplot = False

        matplotlib.figure.Figure.savefig = count_pdf
        matplotlib.pyplot.savefig = save_current

    def elements(self, figure: matplotlib.figure.Figure) -> ChartMimicElements:
        """What is noted up to here; `figure` has just been drawn. The layout is that of pyplot's current figure."""
        current = matplotlib.pyplot.gcf() if matplotlib.pyplot.get_fignums() else figure
        counts = sorted((name[:MAX_NAME_LENGTH], count) for name, count in self._calls.items())
        return ChartMimicElements(
            texts=tuple(sorted(_capped(self._lines(figure)))),
            layout=tuple(sorted(_cells(current.axes[:MAX_AXES]))),
            chart_types=tuple(counts[:MAX_CHART_TYPES]),
            colors=tuple(sorted(self._colors())[:MAX_COLORS]),
            placed=tuple(sorted(self._placed())),
            size=tuple(float(side) if abs(side) <= MAX_PLACE else 0.0 for side in figure.get_size_inches()),
        )

    def _lines(self, figure: matplotlib.figure.Figure) -> Iterator[str]:
        """Lines of the last draw without major x and y ticks, and with them for each PDF that the program saved."""
        emptied = set(map(id, _texts_of_ticks(figure.axes)))
        for text, drawn in self._texts:
            if not drawn or text.get_usetex() or text.get_path_effects() or _is_rasterized(text) or _is_nowhere(text):
                continue
            times = self._pdfs[figure] + (id(text) not in emptied)
            for line in drawn.split('\n'):
                yield from [text._preprocess_math(line)[0]] * times
        for axes in figure.axes:
            for axis in (axes.xaxis, axes.yaxis):
                yield from _uncovered_labels(axes, axis)

    def _placed(self) -> Iterator[tuple[str, float, float]]:
        for text, drawn in self._texts:
            with suppress(Exception):                  # places can be of any unit
                x, y = (float(value) for value in text.get_unitless_position())
                if (name := drawn.strip().lower()[:MAX_TEXT_LENGTH]) and abs(x) <= MAX_PLACE and abs(y) <= MAX_PLACE:
                    yield name, x, y

    def _colors(self) -> set[tuple[str, str]]:
        found = set()
        for (function, _), (thing, read) in self._objects.items():
            with suppress(Exception):
                found.update((function, name) for name in readers.names_of(read(thing)))
        return found


def _capped(lines: Iterator[str]) -> Iterator[str]:
    left = MAX_CHARACTERS
    for _, line in zip(range(MAX_TEXTS), lines):
        left -= len(line := line[:MAX_TEXT_LENGTH])
        if left < 0:
            return
        yield line


def _cells(all_axes: list[matplotlib.axes.Axes]) -> Iterator[tuple[int, int, int, int, int, int]]:
    for axes in all_axes:
        if (spec := axes.get_subplotspec()) is not None:
            rows, columns = spec.get_gridspec().get_geometry()
            yield rows, columns, spec.rowspan.start, spec.rowspan.stop - 1, spec.colspan.start, spec.colspan.stop - 1


def _texts_of_ticks(all_axes: list[matplotlib.axes.Axes]) -> Iterator[matplotlib.text.Text]:
    """Texts that are gone once `set_xticks([])` and `set_yticks([])` are called on each axes."""
    for axes in all_axes:
        for axis in (axes.xaxis, axes.yaxis):
            for tick in vars(axis).get('majorTicks', ()):      # the attribute itself would make ticks
                yield from (tick.label1, tick.label2)
            if isinstance(axis.major.formatter, matplotlib.ticker.ScalarFormatter):
                yield axis.offsetText
        for line in getattr(axes, '_axislines', {}).values():      # axisartist has ticks of its own
            if hasattr(getattr(line, '_axis_artist_helper', None), 'axis'):
                yield line.major_ticklabels


def _uncovered_labels(axes: matplotlib.axes.Axes, axis: matplotlib.axis.Axis) -> list[str]:
    """Labels of minor ticks where major ones are: once those are emptied, they are drawn."""
    shown = any(tick.label1.get_visible() for tick in vars(axis).get('minorTicks', ()))
    if not shown or not (axis.get_visible() and axes.get_visible() and axes.axison):
        return []
    if isinstance(axis.minor.formatter, matplotlib.ticker.NullFormatter) or not axis.remove_overlapping_locs:
        return []
    low, high = sorted(axis.get_view_interval())
    try:
        covered = set(axis.get_minorticklocs())
        axis.remove_overlapping_locs = False
        places = axis.get_minorticklocs()
        labels = axis.minor.formatter.format_ticks(places)
    finally:
        axis.remove_overlapping_locs = True
    return [label for place, label in zip(places, labels) if label and place not in covered and low <= place <= high]


def _is_rasterized(text: matplotlib.text.Text) -> bool:
    axes = text.axes
    if text.get_rasterized() or axes is None:
        return bool(text.get_rasterized())
    below = axes.get_rasterization_zorder()
    return bool(axes.get_rasterized() or (below is not None and text.get_zorder() < below))


def _is_nowhere(text: matplotlib.text.Text) -> bool:
    """Whether the text lies at data that has no place, such as 0 on a logarithmic axis that masks it."""
    if text.axes is None or text.get_transform() is not text.axes.transData:
        return False
    return not np.isfinite(text.get_transform().transform(text.get_unitless_position())).all()
