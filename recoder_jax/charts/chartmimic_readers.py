"""How the mode `chartmimic` reads the colours of what a listed function drew: when it is called, and at the end.

`COLORS` and `COLORS_3D` say it for the methods of axes. A read never checks: the recorder leaves out what fails.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import matplotlib.colors
import matplotlib.image
import matplotlib.patches
import numpy as np
from matplotlib.projections.polar import PolarAxes

from recoder_jax.charts.chartmimic import MAX_NAME_LENGTH


@dataclass(frozen=True)
class Call:
    """One call of a listed function."""

    args: tuple
    kwargs: dict
    result: object


# How the colours of one object are read: any colours of matplotlib, or the name of a colormap.
Read = Callable[[object], Iterable]
# What a call leaves to be read: pairs of an object and how to read it.
Parts = Callable[[Call], Iterator[tuple[object, Read]]]


def names_of(colors: Iterable) -> set[str]:
    """Name of each colour; rows of numbers are rounded at once."""
    if isinstance(colors, np.ndarray) and colors.ndim == 2 and len(colors) > 4:
        rows = np.rint(np.nan_to_num(colors[:, :3]) * 255).astype(np.uint8)
        return {f'#{row.hex().upper()}' for row in set(map(bytes, rows))}
    return set(map(name_of, colors))


def name_of(color: object) -> str:
    """'#RRGGBB' of a colour, '#RRGGBBAA' of one given like that, or the name of a colormap."""
    if isinstance(color, matplotlib.colors.Colormap):
        return color.name[:MAX_NAME_LENGTH].lstrip('#')
    if isinstance(color, str) and color.startswith('#') and len(color) in (7, 9):
        return color.upper()
    return matplotlib.colors.to_hex(color).upper()


# ---- objects of a call, and how they are read -----------------------------------------------------------------------

def _line(line) -> list:
    return [line.get_color()]


def _face(patch) -> list:
    return [patch.get_facecolor()]


def _drawn_face(patch) -> list:
    return [patch._original_facecolor]


def _all_faces(collection) -> np.ndarray:
    return collection.get_facecolor()


def _one_face(collection) -> np.ndarray:
    return collection.get_facecolor()[:1]


def _all_edges(collection) -> np.ndarray:
    return collection.get_edgecolor()


def _colormap(mappable) -> list:
    return [mappable.get_cmap()]


def _returned(read: Read) -> Parts:
    """The object that the call returned."""
    return lambda call: iter([(call.result, read)])


def _each(read: Read) -> Parts:
    """Each object in the sequence that the call returned."""
    return lambda call: ((thing, read) for thing in call.result)


def _mapped(otherwise: Read) -> Parts:
    """The colormap when one is given by name to the call, else the colours of what it returned."""
    def parts(call):
        cmap = call.kwargs.get('cmap')
        if cmap is None:
            yield call.result, otherwise
        else:
            name = cmap if isinstance(cmap, str) else cmap.name
            yield call.result, lambda _: [_Named(name)]
    return parts


class _Named(matplotlib.colors.Colormap):
    """A colormap of which only the name is known."""


def made_line(call: Call) -> Iterator[tuple[object, Read]]:
    """The line of `_process_plot_var_args._make_line`."""
    yield call.result[0], _line


def polar_lines(call: Call) -> Iterator[tuple[object, Read]]:
    """Lines of exactly PolarAxes, not of its subclasses."""
    if type(call.args[0]) is PolarAxes:
        yield from ((line, _line) for line in call.result)


def _wedges(call):
    yield from ((wedge, _face) for wedge in call.result[0])


def _boxes(call):
    yield from ((box, _face) for box in call.result['boxes'] if type(box) is matplotlib.patches.PathPatch)


def _bodies(call):
    yield from ((body, _one_face) for body in call.result['bodies'])


def _bins(call):
    for item in call.result[2]:
        for patch in ([item] if isinstance(item, matplotlib.patches.Patch) else item):
            yield patch, _face


def own_colormap(call: Call) -> Iterator[tuple[object, Read]]:
    """The image that a constructor has made."""
    if type(call.args[0]) is matplotlib.image.NonUniformImage:
        yield call.args[0], _colormap


def own_face(call: Call) -> Iterator[tuple[object, Read]]:
    """The ellipse or circle that a constructor has made; not those of subclasses."""
    if type(call.args[0]) in (matplotlib.patches.Ellipse, matplotlib.patches.Circle):
        yield call.args[0], _face


def containers(call: Call) -> Iterator[tuple[object, Read]]:
    """Every bar in the axes that squarify drew in."""
    yield from ((patch, _face) for container in call.result.containers for patch in container)


def venn(call: Call) -> Iterator[tuple[object, Read]]:
    """The regions of a Venn diagram."""
    yield call.args[0], lambda venn: [patch.get_facecolor() for patch in venn.patches]


def edges(call: Call) -> Iterator[tuple[object, Read]]:
    """Arrows or lines of networkx edges."""
    if isinstance(call.result, list):
        yield call.result, lambda arrows: [arrow.get_facecolor() for arrow in arrows]
    else:
        yield call.result, _all_edges


def labels(call: Call) -> Iterator[tuple[object, Read]]:
    """Texts of networkx labels."""
    yield from ((text, _line) for text in call.result.values())


# The first face, or all faces, of the collection that the call returned.
first_face, faces = _returned(_one_face), _returned(_all_faces)
COLORS: dict[str, Parts] = {
    **dict.fromkeys(('axhline', 'axvline'), _returned(_line)),
    **dict.fromkeys(('axhspan', 'axvspan'), _returned(_face)),
    **dict.fromkeys(('hlines', 'vlines'), _returned(_all_edges)),
    **dict.fromkeys(('imshow', 'pcolor', 'contour', 'contourf', 'tripcolor'), _returned(_colormap)),
    **dict.fromkeys(('broken_barh', 'quiver'), faces),
    'bar': _each(_drawn_face), 'fill': _each(_face), 'scatter': _mapped(_one_face), 'pie': _wedges, 'boxplot': _boxes,
    'violinplot': _bodies, 'hist': _bins}
COLORS_3D: dict[str, Parts] = {
    'scatter': _mapped(_all_faces), 'plot': _each(_line), 'plot_surface': _mapped(_one_face), 'bar3d': first_face,
    'bar': _each(_face), 'add_collection3d': faces}
