"""What a figure's own objects say about it: its axes, the plotting calls that are still in it, their colours.

These are claims: they are read in the process of the program, from objects that the program can change. `replay`
keeps those that have ink.
"""

from collections.abc import Iterator

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import Collection
from matplotlib.colors import Colormap, to_rgba_array
from matplotlib.figure import Figure
from matplotlib.gridspec import SubplotSpec
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.table import Table
from mpl_toolkits.mplot3d.art3d import Poly3DCollection

from recoder_jax.charts.claim_form import MAX_CALLS, MAX_CLAIMED_COLORS, MAX_MAP
from recoder_jax.charts.elements import MAX_AXES, MAX_NAME_LENGTH, MAX_SERIES
from recoder_jax.charts.marks import frame_of, marks_of
from recoder_jax.charts.recorder import Call, Recorder

_GRID = 20          # free axes positions are rounded to 1 / _GRID of the figure
_DEPTH = 4          # nesting of containers that are looked into for artists
# Attributes that hold the artists of the containers which are neither sequences nor dictionaries.
_CONTAINER_FIELDS = ('wedges', 'lines', 'arrows', 'bar_containers')
# Keys of the dictionaries that boxplot and violinplot return; whiskers and caps are frame, not colour.
_BODY_KEYS = ('boxes', 'medians', 'bodies')


def all_axes(figure: Figure) -> list[Axes]:
    """The axes of the figure, each followed later by the axes inside it."""
    found = list(figure.axes)
    for axes in found:
        found += axes_inside(axes)
    return found


def axes_inside(axes: Axes) -> list[Axes]:
    """Insets, secondary axes and parasites (axes_grid1) of an axes; a figure does not list them."""
    return [*axes.child_axes, *getattr(axes, 'parasites', ())]


def live_calls(axes: list[Axes], recorder: Recorder) -> list[Call]:
    """The recorded calls that still show: their axes are in the figure and not all they drew is gone."""
    known = set(axes)
    return [call for call in recorder.calls if _is_alive(call, known)]


def _is_alive(call: Call, axes: set[Axes]) -> bool:
    """What is drawn in the axes of a colour bar is no plot."""
    if call.axes not in axes or (hasattr(call.axes, '_colorbar') and call.name != 'colorbar'):
        return False
    artists = list(artists_in(call.result, everything=True))
    return not artists or any(artist.axes is not None and artist.get_visible() for artist in artists)


def chart_type(call: Call) -> str:
    """Name of the plotting function, with the projection unless it is rectilinear.

    A class of the program counts as the one of matplotlib it derives from: axes for radar charts are polar.
    """
    kinds = [kind for kind in type(call.axes).__mro__ if kind.__module__.startswith(('matplotlib.', 'mpl_toolkits.'))]
    projection = getattr(kinds[0], 'name', 'rectilinear')
    suffix = '' if projection == 'rectilinear' else f'_{projection}'
    return (call.name + suffix)[:MAX_NAME_LENGTH]


def tick_texts(axes: list[Axes]) -> list[Artist]:
    """Texts that belong to tick labels and are drawn outside of ticks.

    The offset text of an axis (1e6), and the labels of axisartist, which draws all of an axis by one artist.
    """
    named = ('xaxis', 'yaxis', 'zaxis')
    texts = [getattr(one, name).get_offset_text() for one in axes for name in named if hasattr(one, name)]
    for one in axes:
        if hasattr(one, 'new_floating_axis'):
            texts += [text for line in one.axis.values() for text in (line.major_ticklabels, line.minor_ticklabels)]
    return texts


def color_names(color: str | Colormap) -> list[str]:
    """What stands for a colour or a colormap in `Elements.colors`: its name if it is registered, else three colours."""
    if isinstance(color, str):
        return [color]
    return [map_name(color)] if color.name in matplotlib.colormaps else _hex(color([0.0, 0.5, 1.0]))


def map_name(colormap: Colormap) -> str:
    """The name of a colormap in a length and form that is no '#RRGGBB'."""
    return colormap.name[:MAX_NAME_LENGTH].lstrip('#')


def in_layout(axes: Axes) -> bool:
    """Whether the axes has a layout entry: a colour bar belongs to the axes it stands beside."""
    return not hasattr(axes, '_colorbar')


def spec_of(axes: Axes) -> SubplotSpec | None:
    """The place of the axes in the grid of the program. A colour bar splits that place in two, which is undone here.

    The split is one grid for both axes from matplotlib 3.9 on; before, the colour bar has a further grid of its own.
    """
    spec, split = axes.get_subplotspec(), set()
    for bar in axes.figure.axes:
        if hasattr(bar, '_colorbar_info') and bar.get_subplotspec() is not None:
            grids = [one.get_gridspec() for one in _nested(bar.get_subplotspec())[:2]]
            shared = {id(one.get_gridspec()) for one in _nested(bar._colorbar_info['parents'][0].get_subplotspec())}
            split.update([id(grid) for grid in grids if id(grid) in shared][:1])
    for one in _nested(spec):
        if id(one.get_gridspec()) not in split:
            return one
    return spec


def _nested(spec: SubplotSpec | None) -> list[SubplotSpec]:
    """The place, the place its grid is in, and so on."""
    places = []
    while spec is not None:
        places.append(spec)
        spec = getattr(spec.get_gridspec(), '_subplot_spec', None)
    return places


def cell_of(axes: Axes) -> tuple[int, int, int, int, int, int]:
    """The layout entry of an axes, as `Elements.layout` defines it."""
    spec = spec_of(axes)
    if spec is None:
        x0, y0, x1, y1 = np.rint(np.clip(axes.get_position(original=True).extents, -9, 9) * _GRID).astype(int).tolist()
        return 0, 0, x0, x1, y0, y1
    rows, columns = spec.get_gridspec().get_geometry()
    return rows, columns, spec.rowspan.start, spec.rowspan.stop - 1, spec.colspan.start, spec.colspan.stop - 1


def artists_in(value: object, everything: bool, depth: int = _DEPTH) -> Iterator[Artist]:
    """Artists in what a plotting call returned; with `everything` also those that are not looked at for colour."""
    if isinstance(value, Artist):
        yield value
        return
    if isinstance(value, dict):
        parts = [value[key] for key in value if everything or key in _BODY_KEYS or not isinstance(key, str)]
    elif isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.dtype == object):
        parts = list(value)
    else:
        parts = [getattr(value, name) for name in _CONTAINER_FIELDS if hasattr(value, name)]
    if depth:
        for part in parts[:10_000]:
            yield from artists_in(part, everything, depth - 1)


def colors_of(call: Call) -> Iterator[str | Colormap]:
    """'#RRGGBB' or colormaps of what a call drew, as it is after a draw; may repeat."""
    if call.name == 'colorbar':
        return
    solids = []
    for artist in artists_in(call.result, everything=False):
        alpha = artist.get_alpha()            # of an image: may be an array
        if artist.axes is None or not artist.get_visible() or not (alpha is None or np.any(alpha)):
            continue
        if isinstance(artist, Poly3DCollection) and artist.get_array() is None:
            solids.append(artist.get_facecolor())
        else:
            yield from _colors_of_artist(artist)
    if solids:
        yield from _hex(_unshaded(np.concatenate(solids)))


def _colors_of_artist(artist: Artist) -> Iterator[str | Colormap]:
    if isinstance(artist, ScalarMappable) and artist.get_array() is not None:
        if artist.get_array().ndim < 3:           # an RGB image has no colormap
            yield artist.get_cmap()
    elif isinstance(artist, Table):
        yield from _hex([cell.get_facecolor() for cell in artist.get_celld().values() if cell.get_fill()])
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
            yield from _hex(faces)


def _unshaded(faces: np.ndarray) -> np.ndarray:
    """The brightest, float [M, 4], of the faces [N, 4] of each tint: shading scales the three channels alike."""
    order = np.argsort(-faces[:, :3].max(1), kind='stable')
    bright = faces[order]
    tints = np.rint(20 * bright[:, :3] / np.maximum(bright[:, :3].max(1, keepdims=True), 1e-6))
    return bright[np.sort(np.unique(tints, axis=0, return_index=True)[1])]


def _line_color(line: Line2D) -> object:
    if line.get_linestyle() not in ('None', 'none', '', ' '):
        return line.get_color()
    if line.get_marker() in ('None', 'none', '', ' ', None):
        return []
    face = line.get_markerfacecolor()
    return line.get_markeredgecolor() if isinstance(face, str) and face == 'none' else face


def _hex(colors: object) -> list[str]:
    """'#RRGGBB' of each colour that is not fully transparent, without repetition, in order."""
    rgba = np.atleast_2d(to_rgba_array(colors))
    rgb = np.rint(rgba[rgba[:, 3] > 0, :3] * 255).astype(int)
    return list(dict.fromkeys('#%02X%02X%02X' % tuple(row) for row in rgb[:10_000].tolist()))


def tags_of(axes: list[Axes], calls: list[Call]) -> list[tuple[Artist, dict]]:
    """Artists and the change of the tag under which each draws. An artist counts for the first call that gave it."""
    tags = [(one, {'axes': number, 'call': -1}) for number, one in enumerate(axes[:MAX_AXES])]
    tags += [(text, {'tick': True}) for text in tick_texts(axes)]
    met = set()
    for number, call in enumerate(calls[:MAX_CALLS]):
        for artist in artists_in(call.result, everything=True):
            if id(artist) not in met:
                met.add(id(artist))
                tags.append((artist, {'call': number}))
    return tags


def claims_json(axes: list[Axes], calls: list[Call]) -> dict:
    """Claims in the form of `claim_form`, with colours as they are after a draw."""
    numbers = {id(one): number for number, one in enumerate(axes[:MAX_AXES])}
    parents = {id(child): numbers[id(one)] for one in axes[:MAX_AXES] for child in axes_inside(one)}
    grids: dict[int, int] = {}
    rows = []
    for one in axes[:MAX_AXES]:
        spec = spec_of(one)
        grid = -1 if spec is None else grids.setdefault(id(spec.get_gridspec()), len(grids))
        parent = parents.get(id(one), -1)
        rows.append([parent, grid, list(cell_of(one)) if parent < 0 and in_layout(one) else None])
    tables, claimed, marks, left = {}, [], [], MAX_CLAIMED_COLORS
    frames = [[number, *frame] for number, one in enumerate(axes[:MAX_AXES]) if (frame := frame_of(one)) is not None]
    framed = {row[0] for row in frames}
    for call in calls[:MAX_CALLS]:
        if id(call.axes) in numbers:
            colors = {color if isinstance(color, str) else id(color): color for color in colors_of(call)}
            kept = list(colors.values())[:left]
            left -= len(kept)
            if numbers[id(call.axes)] in framed:
                marks += [[len(claimed), *row] for row in marks_in(call)]
            claimed.append([chart_type(call), numbers[id(call.axes)], [_color_json(color, tables) for color in kept]])
    return {'axes': rows, 'calls': claimed, 'marks': marks[:MAX_SERIES], 'frames': frames}


def marks_in(call: Call) -> list[list]:
    """[shape, numbers] of the marks that a call left."""
    shown = [one for one in artists_in(call.result, everything=True) if one.axes is not None and one.get_visible()]
    return marks_of(call.name, call.axes, call.result, shown)


def _color_json(color: str | Colormap, tables: dict[int, list]) -> str | list:
    if isinstance(color, str):
        return color
    if id(color) not in tables:
        table = color(np.linspace(0, 1, min(color.N, MAX_MAP)))
        tables[id(color)] = [map_name(color) or 'colormap', ['#%02X%02X%02X' % tuple(row) for row in np.rint(
            table[:, :3] * 255).astype(int).tolist()]]
    return tables[id(color)]
