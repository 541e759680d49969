"""The form in which claims travel with a draw list, and its gate."""

import math
import re
from dataclasses import dataclass, field

from recoder_jax.charts.elements import MAX_AXES, MAX_NAME_LENGTH, MAX_SERIES, MAX_VALUES
from recoder_jax.charts.marks import SCALES, WIDTHS, Frame
from recoder_jax.charts.operations import Malformed

MAX_CALLS = 10_000
MAX_CLAIMED_COLORS = 1_024          # of one figure, before those without ink are dropped
MAX_MAP = 256                       # colours of one colormap


@dataclass(frozen=True)
class AxesClaim:
    """An axes: index of the axes around it or -1, number of its grid, its layout entry or None."""

    parent: int
    grid: int
    cell: tuple[int, ...] | None


@dataclass(frozen=True)
class CallClaim:
    """A plotting call: chart type, index of its axes, colours (0xRRGGBB), colormaps (name, table of 0xRRGGBB)."""

    name: str
    axes: int
    colors: tuple[int, ...]
    maps: tuple[tuple[str, tuple[int, ...]], ...]


@dataclass(frozen=True)
class MarksClaim:
    """Marks of a call: its index, their shape, the numbers of all rows (`marks`)."""

    call: int
    shape: str
    numbers: tuple[float, ...]

    @property
    def width(self) -> int:
        """Numbers of a row."""
        return WIDTHS[self.shape]


@dataclass(frozen=True)
class Claims:
    """What a process says its figure holds. frames: by index of the axes."""

    axes: tuple[AxesClaim, ...]
    calls: tuple[CallClaim, ...]
    marks: tuple[MarksClaim, ...] = ()
    frames: dict[int, Frame] = field(default_factory=dict)

    @classmethod
    def from_json(cls, value: object) -> 'Claims':
        """Claims from `{'axes': [[parent, grid, cell]], 'calls': [[name, axes, colours]], 'marks': [[call, shape, numbers]],
        'frames': [[axes, scale, low, high, start, end, scale, low, high, start, end]]}`; Malformed.

        A colour is '#RRGGBB' or [name of a colormap, ['#RRGGBB' ...]].
        """
        try:
            axes = tuple(_axes_claim(*row) for row in value['axes'])
            calls = tuple(_call_claim(*row) for row in value['calls'])
            marks = tuple(_marks_claim(*row) for row in value['marks'])
            frames = {axes: _frame(*sides) for axes, *sides in value['frames']}
        except (ValueError, KeyError, TypeError) as error:
            raise Malformed(f'the claims are malformed: {error}'[:300]) from None
        if len(axes) > MAX_AXES or len(calls) > MAX_CALLS or len(marks) > MAX_SERIES or len(frames) > MAX_AXES:
            raise Malformed('the claims are over a cap')
        if not all(-1 <= one.parent < number for number, one in enumerate(axes)) or not all(
                0 <= call.axes < len(axes) for call in calls) or not all(
                0 <= one.call < len(calls) for one in marks):
            raise Malformed('a claim refers to axes that are not there')
        if sum(len(call.colors) + len(call.maps) for call in calls) > MAX_CLAIMED_COLORS:
            raise Malformed('more colours are claimed than allowed')
        return cls(axes, calls, marks, frames)


def _axes_claim(parent, grid, cell) -> AxesClaim:
    numbers = [parent, grid, *(cell or [])]
    if not all(type(one) is int and abs(one) <= 1_000_000 for one in numbers) or len(numbers) not in (2, 8):
        raise ValueError('an axes is not numbers')
    if cell and cell[0] and not (0 <= cell[2] <= cell[3] < cell[0] and 0 <= cell[4] <= cell[5] < cell[1]):
        raise ValueError('a cell lies outside of its grid')
    return AxesClaim(parent, grid, tuple(cell) if cell else None)


def _call_claim(name, axes, colors) -> CallClaim:
    if not isinstance(name, str) or len(name) > MAX_NAME_LENGTH or type(axes) is not int:
        raise ValueError('a call is no name and axes')
    plain = tuple(dict.fromkeys(_color_number(color) for color in colors if isinstance(color, str)))
    maps = []
    for color in colors:
        if not isinstance(color, str):
            label, table = color
            if not isinstance(label, str) or not 0 < len(label) <= MAX_NAME_LENGTH or not 0 < len(table) <= MAX_MAP:
                raise ValueError('a colormap is no name and table')
            maps.append((label, _table(table)))
    return CallClaim(name, axes, plain, tuple(maps))


def _marks_claim(call, shape, numbers) -> MarksClaim:
    if type(call) is not int or shape not in WIDTHS or not isinstance(numbers, list):
        raise ValueError('marks are no call, shape and numbers')
    if len(numbers) % WIDTHS[shape] or len(numbers) > MAX_VALUES * WIDTHS[shape] or not all(map(_finite, numbers)):
        raise ValueError('marks are not whole rows of finite numbers')
    return MarksClaim(call, shape, tuple(map(float, numbers)))


def _frame(*row) -> Frame:
    sides = row[:5], row[5:]
    if len(row) != 10 or not all(side[0] in SCALES and all(map(_finite, side[1:])) for side in sides):
        raise ValueError('a frame is not two scales with four finite numbers each')
    return Frame(*(tuple(side) for side in sides))


def _finite(value: object) -> bool:
    return type(value) in (int, float) and abs(value) < 1e300 and math.isfinite(value)


def _table(colors: list[str]) -> tuple[int, ...]:
    if not all(isinstance(color, str) and len(color) == 7 for color in colors):
        raise ValueError('a colormap holds something other than #RRGGBB')
    joined = ''.join(colors)
    if not re.fullmatch('(#[0-9A-F]{6})+', joined):
        raise ValueError('a colormap holds something other than #RRGGBB')
    return tuple(int(color, 16) for color in joined[1:].split('#'))


def _color_number(color: str) -> int:
    if not isinstance(color, str) or not re.fullmatch('#[0-9A-F]{6}', color):
        raise ValueError('a colour is not of the form #RRGGBB')
    return int(color[1:], 16)
