"""Claimed marks held against the draw list: which of the data a program claims are drawn, on axes that say the same.

A mark is believed where the operations of its call that left ink have a vertex in its pixel or one beside it. The frame of an axes is
not believed along a side on which at least two numbers are written as tick labels and half of them stand more than
_ASTRAY pixels from where the frame has them; numbers may be short by a power of ten that is written there as well.

What remains forgeable: the values along an axes without numbers, in which nothing says what is claimed; a mark drawn
without ink in a call that has ink elsewhere; which of several marks of a call stand in the series.
"""

import re

import numpy as np
from matplotlib.backends.backend_agg import RendererAgg

from recoder_jax.charts.ledger import Ledger
from recoder_jax.charts.marks import Frame, Series, series_of, sorted_series
from recoder_jax.charts.operations import Operation

_STRIDE = 4_000_000          # number of the pixel to the right of pixel 0
_BESIDE = np.array([x * _STRIDE + y for x in (-1, 0, 1) for y in (-1, 0, 1)])
_ASTRAY = 4.0
_TICKS = 64                  # labels of an axes that are read
_LOOKED_AT = 4               # labels of a side that are measured, evenly chosen
_CORNERS = {'points': [(0, 1)], 'x': [(0, 1)], 'y': [(0, 1)], 'bars_x': [(0, 1), (2, 3)], 'bars_y': [(0, 1), (2, 3)],
            'wedges': [(2, 3), (4, 5)]}
_NUMBER = re.compile(r'-?\d+(?:\.\d+)?(?:e[+-]?\d+)?')
_POWER = re.compile(r'(-?)10\^\{(-?\d+)\}')
_OFFSET = re.compile(r'(?:1e|times.*10\^\{)([+-]?\d{1,2})')


def drawn_data(ledger: Ledger, calls: list[int], renderer: RendererAgg, height: int) -> tuple[Series, ...]:
    """`Elements.data` of the believed calls."""
    series: list[Series] = []
    wrong: dict[int, set[str]] = {}
    places: dict[int, np.ndarray] = {}
    believed = set(calls)
    for marks in ledger.claims.marks:
        call = ledger.claims.calls[marks.call]
        frame = ledger.claims.frames.get(call.axes)
        if marks.call not in believed or frame is None:
            continue
        if call.axes not in wrong:
            wrong[call.axes] = contradicted(frame, ledger.ticks[call.axes][:_TICKS], renderer, height)
        if marks.call not in places:
            places[marks.call] = _cells(np.concatenate([np.empty((0, 2)), *ledger.vertices[marks.call]]))
        rows = np.array(marks.numbers).reshape(-1, marks.width)
        kept = np.ones(len(rows), bool)
        for corner in _CORNERS[marks.shape]:
            kept &= _met(frame.place(rows[:, corner]), places[marks.call])
        if marks.shape == 'wedges' and wrong[call.axes]:
            continue
        series += [one for one in series_of(call.name, marks.shape, rows[kept]) if one[1] not in wrong[call.axes]]
    return sorted_series(series)


def _cells(points: np.ndarray) -> np.ndarray:
    """Sorted numbers of the pixels that points lie in."""
    with np.errstate(invalid='ignore'):
        near = np.isfinite(points).all(axis=1) & (np.abs(points) < 1e6).all(axis=1)
    return np.unique(_packed(np.rint(points[near]).astype(np.int64)))


def _packed(pixels: np.ndarray) -> np.ndarray:
    return pixels[:, 0] * _STRIDE + pixels[:, 1]


def _met(points: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Which of the points have a vertex in their pixel or one beside it."""
    near = np.isfinite(points).all(axis=1) & (np.abs(np.nan_to_num(points)) < 1e6).all(axis=1)
    if not len(cells):
        return np.zeros(len(points), bool)
    around = _packed(np.rint(np.where(near[:, None], points, 0)).astype(np.int64))[:, None] + _BESIDE
    found = cells[np.searchsorted(cells, around).clip(max=len(cells) - 1)] == around
    return found.any(axis=1) & near


def contradicted(frame: Frame, ticks: list[Operation], renderer: RendererAgg, height: int) -> set[str]:
    """Sides ('x', 'y') of a frame that its tick labels contradict."""
    sides: dict[str, list[Operation]] = {'x': [], 'y': []}
    powers = {0}
    (_, _, _, *across), (_, _, _, *along) = frame.x, frame.y
    for operation in ticks:
        x, y, string, _, angle, _, _ = operation.args
        powers.update(int(power) for power in _OFFSET.findall(string))
        if angle == 0 and _value(string) is not None:
            if not min(along) <= height - y <= max(along):
                sides['x'].append(operation)
            elif not min(across) <= x <= max(across):
                sides['y'].append(operation)
    return {side for side, labels in sides.items()
            if len(labels) > 1 and _astray(frame, side, labels[::-(-len(labels) // _LOOKED_AT)], powers, renderer, height)}


def _astray(frame: Frame, side: str, labels: list[Operation], powers: set[int], renderer: RendererAgg, height: int) -> bool:
    """Whether half of the labels stand elsewhere than where the frame has their values, whichever power of ten is meant."""
    column = 'xy'.index(side)
    values = np.array([_value(label.args[2]) for label in labels])
    pixels = np.array([_middle(label, renderer, height)[column] for label in labels])
    for power in sorted(powers):
        away = np.abs(frame.place(np.stack([values * 10.0 ** power] * 2, axis=1))[:, column] - pixels)
        if (np.nan_to_num(away, nan=np.inf) <= _ASTRAY).mean() > 0.5:
            return False
    return True


def _middle(label: Operation, renderer: RendererAgg, height: int) -> tuple[float, float]:
    """Middle of an upright text on the canvas, y counted upwards."""
    x, y, string, font, _, ismath, _ = label.args
    wide, high, descent = renderer.get_text_width_height_descent(string, font, ismath)
    return x + wide / 2, height - y + high / 2 - descent


def _value(string: str) -> float | None:
    """The number that a tick label is, None for other texts; matplotlib writes minus signs as U+2212 and powers as mathtext."""
    text = string.replace('\N{MINUS SIGN}', '-').strip('$ ').removeprefix('\\mathdefault')
    power = _POWER.search(text)
    if power and text.strip('{} ').startswith(('10', '-10')):
        return float(f'{power[1]}1e{power[2]}') if len(power[2]) < 4 else None
    text = text.strip('{}')
    return float(text) if len(text) < 30 and _NUMBER.fullmatch(text) else None
