"""Claims held against the ink that a replay found: what of them is believed."""

import os
from collections import Counter

import matplotlib
import numpy as np
from matplotlib import font_manager
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.textpath import TextToPath

from recoder_jax.charts.claim_form import AxesClaim
from recoder_jax.charts.drawn_data import drawn_data
from recoder_jax.charts.elements import (
    MAX_CHART_TYPES, MAX_COLORS, MAX_TEXT_LENGTH, MAX_TEXTS, Elements)
from recoder_jax.charts.footprint import PIXELS_PER_POINT, Box
from recoder_jax.charts.ink import Ink
from recoder_jax.charts.ledger import DrawnLine, Ledger

_SERIES_PIXELS = 24
_COLOR_PIXELS = 4
_AXES_PIXELS = 8
_AXES_LEAST = 3, 8                  # pixels of the shorter and the longer side of an axes without its ticks
_ORDER_PIXELS = 3                   # by which the next cell of a grid lies further right or down
_ALONE = 0.6                        # share of height and width of the canvas
_SPREAD = 4.0                       # times its even share of the canvas that a cell can take up
_TEXT_HEIGHT = 5.0                  # pixels of the font size
_MATH_HEIGHT = 4                    # pixels of the ink of mathtext, which sets parts of it smaller
_TEXT_SHARE = 0.5
_TEXT_CONTRAST = 10.0               # levels of 255 between ink and the pixels around it
# Fonts in which the code of a letter draws another sign.
_SIGNS = ('cmex', 'cmsy', 'dejavusansdisplay', 'dejavuserifdisplay', 'stixnon', 'stixsiz')
_MAP_TOLERANCE = 6                  # levels of 255
_MAP_SHARE = 0.6

_AREAS = frozenset(('stroke', 'fill', 'curve', 'marker', 'collection'))
_CELLS = frozenset(('image', 'mesh', 'collection', 'marker'))
# Sorts of operations of which a plotting function leaves at least one; others leave any, texts included.
_KINDS = (
    {name: _CELLS for name in ('heatmap', 'imshow', 'specgram', 'hist2d', 'hexbin', 'tripcolor')}
    | {'colorbar': _CELLS | {'fill'}, 'pie': frozenset(('curve',))}
    | {name: _AREAS for name in (
        'bar', 'barh', 'bar3d', 'hist', 'boxplot', 'violinplot', 'fill', 'fill_between', 'fill_betweenx', 'stackplot',
        'broken_barh', 'stairs', 'axhspan', 'axvspan', 'scatter', 'grouped_bar', 'contour', 'contourf', 'tricontour',
        'tricontourf', 'plot_surface', 'plot_trisurf', 'voxels', 'quiver', 'barbs', 'step', 'stem', 'errorbar',
        'eventplot', 'hlines', 'vlines', 'axhline', 'axvline', 'axline', 'streamplot', 'plot_wireframe', 'triplot')}
    | {'plot': frozenset(('stroke', 'marker'))})


def believed(ledger: Ledger, ink: Ink, pixels: np.ndarray, renderer: RendererAgg) -> Elements:
    """The elements that have ink in the final pixels, uint8 [H, W, 3]."""
    amounts = ink.amounts(np.array([painter.call >= 0 and painter.text < 0 for painter in ledger.painters]))
    calls = _believed_calls(ledger, amounts)
    claims = ledger.claims
    types = Counter(claims.calls[call].name for call in calls)
    colors = {(claims.calls[call].name, color) for call in calls for color in _believed_colors(ledger, call, amounts)}
    texts = [line.string.strip()[:MAX_TEXT_LENGTH] for line in ledger.texts
             if line.string.strip() and _legible(line, ink, pixels, renderer)]
    return Elements(
        texts=tuple(sorted(texts[:MAX_TEXTS])),
        layout=tuple(sorted(_believed_cells(ledger, amounts, pixels.shape[:2]))),
        chart_types=tuple(sorted(types.items())[:MAX_CHART_TYPES]),
        colors=tuple(sorted(colors)[:MAX_COLORS]),
        data=drawn_data(ledger, calls, renderer, pixels.shape[0]),
    )


def _believed_calls(ledger: Ledger, amounts: np.ndarray) -> list[int]:
    claims = ledger.claims
    seen = np.zeros(len(claims.calls) + 1, np.int64)
    for painter, number in ledger.painters.items():
        seen[painter.call] += amounts[number]
    believed, bars = [], set()
    for number, call in enumerate(claims.calls):
        kinds, amount = ledger.kinds[number], seen[number]
        if call.name.split('_')[0] == 'colorbar':
            if call.axes in bars:
                continue
            bars.add(call.axes)
            kinds, amount = ledger.axes_kinds[call.axes], _SERIES_PIXELS
        wanted = _KINDS.get(call.name, _KINDS.get(call.name.rpartition('_')[0]))
        if amount >= _SERIES_PIXELS and (kinds if wanted is None else kinds & wanted):
            believed.append(number)
    return believed


def _believed_colors(ledger: Ledger, call: int, amounts: np.ndarray) -> list[str]:
    """Claimed colours and colormaps of a call that its ink shows."""
    claim = ledger.claims.calls[call]
    shown = Counter()
    for painter, number in ledger.painters.items():
        if painter.call == call and painter.color >= 0:
            shown[painter.color] += amounts[number]
    colors = [f'#{color:06X}' for color in claim.colors if shown[color] >= _COLOR_PIXELS]
    if claim.maps and ledger.mapped[call]:
        drawn = np.unique(np.concatenate(ledger.mapped[call]), axis=0)
        drawn = drawn[::len(drawn) // 500 + 1]
        for name, table in claim.maps:
            colors += _believed_map(name, table, drawn)
    return colors


def _believed_map(name: str, table: tuple[int, ...], drawn: np.ndarray) -> list[str]:
    """The name of a map this process knows, else three colours of the table, where the drawn colours lie on it."""
    if name in matplotlib.colormaps:
        known = matplotlib.colormaps[name]
        rgba = np.concatenate([known(np.linspace(0, 1, 256)),
                               [known.get_under(), known.get_over(), known.get_bad()]])
        if _on_map(drawn, np.rint(rgba[:, :3] * 255).astype(int)):
            return [name]
    if _on_map(drawn, np.array([(color >> 16, color >> 8 & 255, color & 255) for color in table])):
        return [f'#{table[place]:06X}' for place in (0, len(table) // 2, len(table) - 1)]
    return []


def _on_map(drawn: np.ndarray, colors: np.ndarray) -> bool:
    distance = np.abs(drawn[:, None].astype(np.int16) - colors[None].astype(np.int16)).max(2).min(1)
    return len(drawn) > 0 and (distance <= _MAP_TOLERANCE).mean() >= _MAP_SHARE


def _believed_cells(ledger: Ledger, amounts: np.ndarray, size: tuple[int, int]) -> list[tuple[int, ...]]:
    """Layout entries of axes with ink whose places agree with the order in their grid."""
    claims = ledger.claims.axes
    seen = np.zeros(len(claims) + 1, np.int64)
    for painter, number in ledger.painters.items():
        seen[painter.axes] += amounts[number]
    boxes = list(ledger.boxes)
    for number in range(len(claims) - 1, -1, -1):        # an axes inside another counts for both
        if claims[number].parent >= 0:
            seen[claims[number].parent] += seen[number]
            boxes[claims[number].parent] = boxes[claims[number].parent] or boxes[number]
    kept = [number for number, claim in enumerate(claims)
            if claim.cell is not None and seen[number] >= _AXES_PIXELS and boxes[number] is not None
            and _fits(claim.cell, boxes[number], size)]
    grids: dict[tuple, list[int]] = {}
    for number in kept:
        if claims[number].cell[0]:
            grids.setdefault((claims[number].grid, *claims[number].cell[:2]), []).append(number)
    wrong = set()
    for members in grids.values():
        wrong.update(_out_of_order([claims[number].cell for number in members],
                                   [boxes[number] for number in members], members))
    wrong.update(_alone(grids, claims, boxes, size))
    wrong.update(_over_each_other(kept, claims, boxes))
    return [claims[number].cell for number in kept if number not in wrong]


def _alone(grids: dict[tuple, list[int]], claims: tuple[AxesClaim, ...], boxes: list[Box | None],
           size: tuple[int, int]) -> list[int]:
    """Axes that are the only one of a grid of several rows and columns and take up most of the canvas."""
    found = []
    for members in grids.values():
        rows, columns, top, bottom, left, right = claims[members[0]].cell
        y0, y1, x0, x1 = boxes[members[0]]
        if (len({claims[member].cell for member in members}) == 1 and bottom - top + 1 <= rows / 2
                and right - left + 1 <= columns / 2 and min((y1 - y0) / size[0], (x1 - x0) / size[1]) > _ALONE):
            found += members
    return found


def _over_each_other(kept: list[int], claims: tuple[AxesClaim, ...], boxes: list[Box | None]) -> set[int]:
    """Axes of different cells of grids of one shape, each grid its own, that mostly cover each other."""
    shapes: dict[tuple, list[int]] = {}
    for number in kept:
        if claims[number].cell[0]:
            shapes.setdefault(claims[number].cell[:2], []).append(number)
    wrong = set()
    for members in shapes.values():
        box, cell = np.array([boxes[one] for one in members]), np.array([claims[one].cell for one in members])
        sides = [np.minimum(box[:, None, end], box[None, :, end])
                 - np.maximum(box[:, None, end - 1], box[None, :, end - 1]) for end in (1, 3)]
        shared = np.maximum(sides[0], 0) * np.maximum(sides[1], 0)
        area = (box[:, 1] - box[:, 0]) * (box[:, 3] - box[:, 2])
        covering = shared > 0.5 * np.minimum(area[:, None], area[None])
        clash = covering & (cell[:, None] != cell[None]).any(2)
        wrong.update(member for member, bad in zip(members, clash.any(1)) if bad)
    return wrong


def _fits(cell: tuple[int, ...], box: Box, size: tuple[int, int]) -> bool:
    """Whether an axes is large enough to be seen, and not far larger than its cell."""
    sides = box[1] - box[0], box[3] - box[2]
    if min(sides) < _AXES_LEAST[0] or max(sides) < _AXES_LEAST[1]:
        return False
    grid, spans = cell[:2], (cell[3] - cell[2] + 1, cell[5] - cell[4] + 1)
    return not cell[0] or all(side <= _SPREAD * span / count * whole
                              for side, span, count, whole in zip(sides, spans, grid, size))


def _out_of_order(cells: list[tuple[int, ...]], boxes: list[Box], members: list[int]) -> list[int]:
    """Members of a grid that lie left of or above another by their cells and not by their ink."""
    cell, box = np.array(cells), np.array(boxes)
    centers = (box[:, ::2] + box[:, 1::2]) / 2           # row, column of the canvas
    wrong = np.zeros(len(cells), bool)
    for axis, (first, last) in enumerate(((2, 3), (4, 5))):
        before = cell[:, None, last] < cell[None, :, first]
        against = before & (centers[:, None, axis] + _ORDER_PIXELS > centers[None, :, axis])
        wrong |= against.any(0) | against.any(1)
    return [member for member, bad in zip(members, wrong) if bad]


def _legible(line: DrawnLine, ink: Ink, pixels: np.ndarray, renderer: RendererAgg) -> bool:
    if not line.marks or line.size < _TEXT_HEIGHT or _in_signs(line):
        return False
    y0, y1, x0, x1 = _around([mark.box for mark in line.marks])
    if line.operation.kind == 't' and line.operation.args[5] and min(y1 - y0, x1 - x0) < _MATH_HEIGHT:
        return False
    places = np.unique(np.concatenate([mark.places for mark in line.marks]))
    kept = ink.kept(places, np.array([line.painter]))
    if kept.mean() < _TEXT_SHARE or not _stands_out(places, places[kept], (y0, y1, x0, x1), pixels):
        return False
    return _inside(line, (y0, y1, x0, x1), pixels.shape[:2], renderer)


def _in_signs(line: DrawnLine) -> bool:
    font = line.operation.args[3 if line.operation.kind == 't' else 1]
    return os.path.basename(font_manager.findfont(font)).lower().startswith(_SIGNS)


def _around(boxes: list[Box]) -> Box:
    y0, y1, x0, x1 = zip(*boxes)
    return min(y0), max(y1), min(x0), max(x1)


def _stands_out(places: np.ndarray, kept: np.ndarray, box: Box, pixels: np.ndarray) -> bool:
    """Whether ink differs from the pixels without ink in its box and one pixel around."""
    height, width = pixels.shape[:2]
    y0, y1, x0, x1 = max(box[0] - 1, 0), min(box[1] + 1, height), max(box[2] - 1, 0), min(box[3] + 1, width)
    part = pixels[y0:y1, x0:x1]
    without = np.ones(part.shape[:2], bool)
    rows, columns = np.divmod(places, width)
    without[rows - y0, columns - x0] = False
    if not without.any():
        return False
    drawn = pixels.reshape(-1, 3)[kept]
    return float(np.abs(drawn.mean(0) - part[without].mean(0)).max()) >= _TEXT_CONTRAST


def _inside(line: DrawnLine, box: Box, size: tuple[int, int], renderer: RendererAgg) -> bool:
    """Whether at least half of the text lies in canvas and clip; looked at where ink touches the edge of them."""
    height, width = size
    clip = line.operation.gc._cliprect
    x0, y0, x1, y1 = (0, 0, width, height) if clip is None else np.clip(clip.extents, 0, (width, height) * 2)
    top, bottom = height - y1, height - y0
    if box[0] > top + 1 and box[1] < bottom - 1 and box[2] > x0 + 1 and box[3] < x1 - 1:
        return True
    return _share_inside(line, (x0, y0, x1, y1), height, renderer) >= _TEXT_SHARE


def _share_inside(line: DrawnLine, limits: tuple[float, ...], height: int, renderer: RendererAgg) -> float:
    """Share of the rectangle around the text that lies within limits (x0, y0, x1, y1, y up)."""
    if line.operation.kind == 't':
        x, y, string, font, angle, ismath, _ = line.operation.args
        wide, high, descent = renderer.get_text_width_height_descent(string, font, ismath)
        turn = np.radians(angle)
        origin = np.array([x, height - y])
        basis = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    else:
        string, font, ismath, _, affine, _, _ = line.operation.args
        # Outlines have the font size FONT_SCALE; the renderer measures in pixels.
        scale = TextToPath.FONT_SCALE / (font.get_size_in_points() * PIXELS_PER_POINT)
        wide, high, descent = (scale * one for one in renderer.get_text_width_height_descent(string, font, ismath))
        origin, basis = affine[:2, 2], affine[:2, :2].T
    along, up = np.meshgrid(np.linspace(0, wide, 21), np.linspace(-descent, high - descent, 5))
    points = origin + along[..., None] * basis[0] + up[..., None] * basis[1]
    inside = (points >= limits[:2]) & (points <= limits[2:])
    return float(inside.all(-1).mean())
