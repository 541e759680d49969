"""One draw of a figure: its pixels and its elements."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.collections import Collection
from matplotlib.colors import to_rgba_array
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from recoder_jax.charts.elements import (
    MAX_AXES, MAX_CHART_TYPES, MAX_COLORS, MAX_NAME_LENGTH, MAX_TEXT_LENGTH, MAX_TEXTS, Elements)
from recoder_jax.charts.recorder import Call, Recorder

_DPI = 100
_GRID = 20          # free axes positions are rounded to 1 / _GRID of the figure
_DEPTH = 4          # nesting of containers that are looked into for artists
# Attributes that hold the artists of the containers which are neither sequences nor dictionaries.
_CONTAINER_FIELDS = ('wedges', 'lines', 'arrows', 'bar_containers')
# Keys of the dictionaries that boxplot and violinplot return; whiskers and caps are frame, not colour.
_BODY_KEYS = ('boxes', 'medians', 'bodies')


class PictureTooLarge(Exception):
    """The figure has more pixels than allowed."""


@dataclass(frozen=True, eq=False)
class Picture:
    """Pixels, uint8 [H, W, 3], and elements of a figure."""

    pixels: np.ndarray
    elements: Elements


def take_picture(figure: Figure, recorder: Recorder, max_pixels: int) -> Picture:
    """Draws the figure once at 100 dots an inch; PictureTooLarge before drawing when it is over `max_pixels`."""
    figure.set_dpi(_DPI)
    canvas = figure.canvas if isinstance(figure.canvas, FigureCanvasAgg) else FigureCanvasAgg(figure)
    width, height = canvas.get_width_height()
    if width * height > max_pixels:
        raise PictureTooLarge(f'the figure has {width} x {height} pixels at {_DPI} dots an inch, '
                              f'more than {max_pixels}; give a smaller figsize')
    recorder.texts.clear()
    canvas.draw()
    rgba = np.asarray(canvas.buffer_rgba())
    pixels = np.ascontiguousarray(rgba[..., :3])
    if rgba[..., 3].min() < 255:
        alpha = rgba[..., 3:].astype(np.float32) / 255
        pixels = np.rint(pixels * alpha + 255 * (1 - alpha)).astype(np.uint8)
    return Picture(pixels, _elements(figure, recorder))


def _elements(figure: Figure, recorder: Recorder) -> Elements:
    axes = list(_all_axes(figure))
    calls = [call for call in recorder.calls if _is_alive(call, set(axes))]
    types = Counter(_key(call) for call in calls)
    colors = dict.fromkeys((_key(call), color) for call in calls for color in _colors_of_call(call))
    return Elements(
        texts=tuple(sorted(_texts(axes, recorder)[:MAX_TEXTS])),
        layout=tuple(sorted(_cell(one) for one in figure.axes[:MAX_AXES])),
        chart_types=tuple(sorted(types.items())[:MAX_CHART_TYPES]),
        colors=tuple(sorted(list(colors)[:MAX_COLORS])),
    )


def _all_axes(figure: Figure) -> Iterator[Axes]:
    waiting = list(figure.axes)
    while waiting:
        axes = waiting.pop(0)
        yield axes
        waiting += axes.child_axes


def _is_alive(call: Call, axes: set[Axes]) -> bool:
    """Whether the call still shows: its axes are in the figure, not those of a colour bar, and not all it drew is gone."""
    if call.axes not in axes or (hasattr(call.axes, '_colorbar') and call.name != 'colorbar'):
        return False
    artists = list(_artists(call.result, everything=True))
    return not artists or any(artist.axes is not None for artist in artists)


def _key(call: Call) -> str:
    suffix = '' if call.axes.name == 'rectilinear' else f'_{call.axes.name}'
    return (call.name + suffix)[:MAX_NAME_LENGTH]


def _texts(axes: list[Axes], recorder: Recorder) -> list[str]:
    """Drawn lines of text. The offset text of an axis (1e6) belongs to its tick labels and is left out.

    axisartist draws the labels of its ticks by a class of its own.
    """
    named = ('xaxis', 'yaxis', 'zaxis')
    offsets = {id(getattr(one, name).get_offset_text()) for one in axes for name in named if hasattr(one, name)}
    lines = []
    for text, drawn in recorder.texts:
        if id(text) not in offsets and type(text).__name__ != 'TickLabels':
            lines += [line.strip()[:MAX_TEXT_LENGTH] for line in drawn.split('\n') if line.strip()]
    return lines


def _cell(axes: Axes) -> tuple[int, int, int, int, int, int]:
    spec = axes.get_subplotspec()
    if spec is None:
        x0, y0, x1, y1 = np.rint(np.clip(axes.get_position(original=True).extents, -9, 9) * _GRID).astype(int).tolist()
        return 0, 0, x0, x1, y0, y1
    rows, columns = spec.get_gridspec().get_geometry()
    return rows, columns, spec.rowspan.start, spec.rowspan.stop - 1, spec.colspan.start, spec.colspan.stop - 1


def _artists(value: object, everything: bool, depth: int = _DEPTH) -> Iterator[Artist]:
    """Artists in what a plotting call returned; with `everything` also those that are not looked at for colour."""
    if isinstance(value, Artist):
        yield value
        return
    if isinstance(value, dict):
        parts = [value[key] for key in value if everything or key in _BODY_KEYS]
    elif isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.dtype == object):
        parts = list(value)
    else:
        parts = [getattr(value, name) for name in _CONTAINER_FIELDS if hasattr(value, name)]
    if depth:
        for part in parts[:10_000]:
            yield from _artists(part, everything, depth - 1)


def _colors_of_call(call: Call) -> Iterator[str]:
    if call.name in ('table', 'colorbar'):
        return
    for artist in _artists(call.result, everything=False):
        if artist.axes is not None and artist.get_visible() and artist.get_alpha() != 0:
            yield from _colors_of_artist(artist)


def _colors_of_artist(artist: Artist) -> Iterator[str]:
    if isinstance(artist, ScalarMappable) and artist.get_array() is not None:
        if artist.get_array().ndim < 3:           # an RGB image has no colormap
            yield artist.get_cmap().name[:MAX_NAME_LENGTH].lstrip('#')
    elif isinstance(artist, Line2D):
        yield from _hex(_line_color(artist))
    elif isinstance(artist, Patch):
        face = artist.get_facecolor()
        yield from _hex(face if artist.get_fill() and face[3] > 0 else artist.get_edgecolor())
    elif isinstance(artist, Collection):
        faces = artist.get_facecolor()
        if not (len(faces) and np.any(faces[:, 3] > 0)):
            yield from _hex(artist.get_edgecolor())
        else:
            # The faces of one solid differ by shading only.
            yield from _hex(faces[:1] if type(artist).__name__ == 'Poly3DCollection' else faces)


def _line_color(line: Line2D) -> object:
    if line.get_linestyle() not in ('None', 'none', '', ' '):
        return line.get_color()
    face = line.get_markerfacecolor()
    return line.get_markeredgecolor() if isinstance(face, str) and face == 'none' else face


def _hex(colors: object) -> list[str]:
    """'#RRGGBB' of each colour that is not fully transparent, without repetition, in order."""
    rgba = np.atleast_2d(to_rgba_array(colors))
    rgb = np.rint(rgba[rgba[:, 3] > 0, :3] * 255).astype(int)
    return list(dict.fromkeys('#%02X%02X%02X' % tuple(row) for row in rgb[:10_000].tolist()))
