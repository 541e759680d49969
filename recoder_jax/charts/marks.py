"""The data that marks stand for: read from artists in the process of a program, made into series on either side.

A mark has its place in data coordinates, and a frame says where data coordinates lie on the canvas. Both are claims;
`drawn_data` holds them against what was drawn.

    shape     a row                                 series
    points    x, y                                  x, unless it only counts 0, 1, 2, ...; y
    x, y      x, y                                  the one of the name: five numbers of a box
    bars_x    x0, y0, x1, y1 from foot to tip       x1 - x0
    bars_y    the same                              y1 - y0
    wedges    centre, start, end: six numbers       share of the circle

Read are plot, step, stem, errorbar, scatter, bar, barh, hist, grouped_bar, fill_between, stackplot, boxplot and pie on
rectilinear axes with linear or logarithmic scales. Not read: values shown by colour (heatmaps, contours), curves of
densities, anything polar or in space.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection, PolyCollection
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle, Wedge

from recoder_jax.charts.elements import MAX_SERIES, MAX_VALUES

WIDTHS = {'points': 2, 'x': 2, 'y': 2, 'bars_x': 4, 'bars_y': 4, 'wedges': 6}      # numbers of a row
SCALES = ('linear', 'log')
_LINES = ('plot', 'step', 'stem', 'errorbar')
_BARS = ('bar', 'hist', 'grouped_bar')
_FILLS = ('fill_between', 'stackplot')
_DIGITS = 7                   # significant ones that are kept

Series = tuple[str, str, tuple[float, ...]]      # chart type; 'x', 'y' or 'share'; values


@dataclass(frozen=True)
class Frame:
    """Where an axes lies: for x and for y the scale, the values at both ends and the pixels there, y counted upwards."""

    x: tuple[str, float, float, float, float]
    y: tuple[str, float, float, float, float]

    def place(self, points: np.ndarray) -> np.ndarray:
        """Pixels [N, 2] of points [N, 2]; not finite where a scale has no place for them."""
        return np.stack([_along(side, points[:, n]) for n, side in enumerate((self.x, self.y))], axis=1)


def _along(side: tuple[str, float, float, float, float], values: np.ndarray) -> np.ndarray:
    scale, low, high, start, end = side
    with np.errstate(all='ignore'):
        if scale == 'log':
            low, high, values = np.log10(low), np.log10(high), np.log10(values)
        return start + (values - low) / (high - low) * (end - start)


def frame_of(axes: Axes) -> list | None:
    """The frame of an axes as a list of ten; None for other projections and scales, and for axes without extent."""
    scales = axes.get_xscale(), axes.get_yscale()
    if axes.name != 'rectilinear' or not set(scales) <= set(SCALES):
        return None
    box = axes.bbox
    numbers = [*axes.get_xlim(), box.x0, box.x1, *axes.get_ylim(), box.y0, box.y1]
    if not all(map(math.isfinite, numbers)) or numbers[0] == numbers[1] or numbers[4] == numbers[5]:
        return None
    return [scales[0], *map(float, numbers[:4]), scales[1], *map(float, numbers[4:])]


def marks_of(name: str, axes: Axes, result: object, artists: Sequence[Artist]) -> list[list]:
    """Rows [shape, numbers] of what a call of the chart type `name` drew: `result` is what it returned, `artists` what is in it.

    A call whose objects were changed into something unreadable gives none.
    """
    try:
        found = [[shape, _thinned(rows)] for shape, rows in _read(name, axes, result, artists)]
    except Exception:                    # objects of the program, which may hold and raise anything
        return []
    return [row for row in found if row[1]]


def _read(name: str, axes: Axes, result: object, artists: Sequence[Artist]) -> Iterator[tuple[str, np.ndarray]]:
    if name == 'boxplot' and isinstance(result, dict):
        yield from _boxes(result)
    elif name in _LINES:
        lines = [one for one in artists if isinstance(one, Line2D) and one.get_transform() is axes.transData]
        for line in lines if name in ('plot', 'step') else lines[:1]:
            yield 'points', line.get_xydata()
    elif name == 'scatter':
        for one in artists:
            if isinstance(one, PathCollection) and one.get_offset_transform() is axes.transData:
                yield 'points', np.ma.filled(np.ma.asarray(one.get_offsets(), float), np.nan)
    elif name in _BARS or name == 'barh':
        bars = [one for one in artists if isinstance(one, Rectangle) and one.get_data_transform() is axes.transData]
        lying = name == 'barh' or name == 'hist' and len({bar.get_x() for bar in bars}) == 1 < len(bars)
        rows = [(bar.get_x(), bar.get_y(), bar.get_x() + bar.get_width(), bar.get_y() + bar.get_height()) for bar in bars]
        yield 'bars_x' if lying else 'bars_y', np.array(rows, float).reshape(-1, 4)
    elif name in _FILLS:
        for one in artists:
            if isinstance(one, PolyCollection) and one.get_transform() is axes.transData:
                yield from _edges([path.vertices for path in one.get_paths()])
    elif name == 'pie':
        rows = []
        for wedge in artists:
            if isinstance(wedge, Wedge) and wedge.get_data_transform() is axes.transData:
                ends = np.radians([wedge.theta1, wedge.theta2])
                rows.append([*wedge.center, *np.stack([np.cos(ends), np.sin(ends)], 1).ravel() * wedge.r
                             + np.tile(wedge.center, 2)])
        yield 'wedges', np.array(rows, float).reshape(-1, 6)


def _boxes(result: dict) -> Iterator[tuple[str, np.ndarray]]:
    """Medians and ends of whiskers, along the axis that medians lie across."""
    medians = np.array([line.get_xydata()[:1] for line in result.get('medians', ())], float).reshape(-1, 2)
    whiskers = np.concatenate([line.get_xydata()[:2] for line in result.get('whiskers', ())] or [np.empty((0, 2))])
    spans = [np.ptp(line.get_xydata(), axis=0) for line in result.get('medians', ())]
    axis = 'x' if spans and spans[0][0] < spans[0][1] else 'y'
    for rows in (medians, whiskers):
        yield axis, rows


def _edges(polygons: list[np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
    """The two edges of areas between curves, in the order in which matplotlib walks around them; level ones are bases."""
    for polygon in polygons:
        count = (len(polygon) - 3) // 2
        for edge in (polygon[1:count + 1], polygon[count + 2:2 * count + 2][::-1]):
            if len(edge) and np.ptp(edge[:, 1]) > 0:
                yield 'points', edge


def _thinned(rows: np.ndarray) -> list[float]:
    """The numbers of at most MAX_VALUES rows that are finite, evenly chosen."""
    rows = rows[np.isfinite(rows).all(axis=1)]
    if len(rows) > MAX_VALUES:
        rows = rows[np.linspace(0, len(rows) - 1, MAX_VALUES).round().astype(int)]
    return rows.ravel().tolist()


def series_of(name: str, shape: str, rows: np.ndarray) -> list[Series]:
    """The series that rows of marks, float [N, WIDTHS[shape]], stand for."""
    if not len(rows):
        return []
    if shape.startswith('bars_'):
        first = 'xy'.index(shape[-1])
        return [(name, shape[-1], rounded(rows[:, first + 2] - rows[:, first]))]
    if shape == 'wedges':
        start, end = (np.arctan2(rows[:, n + 1] - rows[:, 1], rows[:, n] - rows[:, 0]) for n in (2, 4))
        shares = np.mod((end - start) / (2 * np.pi), 1.0)
        return [(name, 'share', rounded(np.where(shares < 1e-9, 1.0, shares)))]
    wanted = ['xy'.index(shape)] if shape in ('x', 'y') else [0, 1]
    if shape == 'points' and np.array_equal(rows[:, 0], np.arange(len(rows))):
        wanted = [1]                      # what matplotlib counts where a program gives no places
    return [(name, 'xy'[n], rounded(rows[:, n])) for n in wanted]


def rounded(values: np.ndarray) -> tuple[float, ...]:
    return tuple(float(f'{value:.{_DIGITS}g}') + 0.0 for value in values)       # + 0.0: no negative zero


def sorted_series(series: Sequence[Series]) -> tuple[Series, ...]:
    """In the form of `Elements.data`. One bar after another, drawn by a call each, make one series, as by one call for all."""
    joined: list[Series] = []
    single = False
    for name, axis, values in series:
        alone = len(values) == 1
        if alone and single and joined[-1][:2] == (name, axis) and len(joined[-1][2]) < MAX_VALUES:
            joined[-1] = name, axis, joined[-1][2] + values
        else:
            joined.append((name, axis, values))
        single = alone
    return tuple(sorted(one for one in joined if all(map(math.isfinite, one[2])))[:MAX_SERIES])
