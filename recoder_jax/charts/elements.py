"""What a figure shows, as far as the rule score looks at it.

Elements travel from the program's process to the trusted side as JSON. `from_json` is the gate: it accepts the exact
form written by `to_json` within the caps below and refuses everything else, so that no matching step later sees a
size or a type that the program chose.
"""

import math
import re
from dataclasses import dataclass

# Raised whenever other elements are seen in the same figure; golden executions on disk are kept by it.
VERSION = 3

MAX_TEXTS = 2_000
MAX_TEXT_LENGTH = 500
MAX_AXES = 512
MAX_CHART_TYPES = 256
MAX_COLORS = 256
MAX_SERIES = 512
MAX_VALUES = 256                # of one series
MAX_NAME_LENGTH = 80
_MAX_NUMBER = 1_000_000
_AXES = ('x', 'y', 'share')


@dataclass(frozen=True)
class Elements:
    """Recorded elements of one figure, each tuple sorted.

    Attributes:
        texts: drawn texts, one entry a line, without tick labels; equal texts repeat.
        layout: one (rows, columns, first row, last row, first column, last column) an axes, ends inclusive. An axes
            placed without a grid has (0, 0, x0, x1, y0, y1) in twentieths of the figure. A colour bar has no entry
            and does not change that of the axes beside it.
        chart_types: (plotting function, number of outermost calls), for example ('bar', 2) or ('plot_polar', 1).
        colors: distinct (plotting function, '#RRGGBB' or name of a colormap).
        data: one (plotting function, 'x', 'y' or 'share', values) a series of marks, values in the order of drawing;
            'share' of a circle. At most MAX_VALUES a series, evenly chosen. `marks` says which functions are read.
    """

    texts: tuple[str, ...]
    layout: tuple[tuple[int, int, int, int, int, int], ...]
    chart_types: tuple[tuple[str, int], ...]
    colors: tuple[tuple[str, str], ...]
    data: tuple[tuple[str, str, tuple[float, ...]], ...] = ()

    def to_json(self) -> dict:
        """A dictionary of lists, strings and numbers that `json.dumps` takes."""
        return {
            'texts': list(self.texts),
            'layout': [list(cell) for cell in self.layout],
            'chart_types': [list(item) for item in self.chart_types],
            'colors': [list(item) for item in self.colors],
            'data': [[function, axis, list(values)] for function, axis, values in self.data],
        }

    @classmethod
    def from_json(cls, value: object) -> 'Elements':
        """Elements from `to_json`'s form; ValueError for another form or a size over a cap."""
        if not isinstance(value, dict) or set(value) != {'texts', 'layout', 'chart_types', 'colors', 'data'}:
            raise ValueError('elements need exactly the keys texts, layout, chart_types, colors and data')
        texts = _rows(value['texts'], 'texts', MAX_TEXTS)
        if not all(_is_text(text, MAX_TEXT_LENGTH) for text in texts):
            raise ValueError(f'elements: a text is not a string of at most {MAX_TEXT_LENGTH} characters')
        layout = _rows(value['layout'], 'layout', MAX_AXES)
        if not all(isinstance(cell, list) and len(cell) == 6 and all(map(_is_number, cell)) for cell in layout):
            raise ValueError('elements: a layout entry is not a list of six integers')
        types = _rows(value['chart_types'], 'chart_types', MAX_CHART_TYPES)
        if not all(isinstance(item, list) and len(item) == 2 and _is_text(item[0], MAX_NAME_LENGTH)
                   and _is_number(item[1]) and item[1] > 0 for item in types):
            raise ValueError('elements: a chart type is not a name and a positive count')
        if len({name for name, _ in types}) != len(types):
            raise ValueError('elements: a chart type is listed twice')
        colors = _rows(value['colors'], 'colors', MAX_COLORS)
        if not all(isinstance(item, list) and len(item) == 2 and all(_is_text(part, MAX_NAME_LENGTH) for part in item)
                   for item in colors):
            raise ValueError('elements: a colour is not a pair of names')
        if any(color.startswith('#') and not re.fullmatch('#[0-9A-F]{6}', color) for _, color in colors):
            raise ValueError('elements: a colour starts with # and is not of the form #RRGGBB')
        data = _rows(value['data'], 'data', MAX_SERIES)
        if not all(map(_is_series, data)):
            raise ValueError(f'elements: a series is not a name, one of {", ".join(_AXES)} and at most {MAX_VALUES} finite numbers')
        return cls(
            texts=tuple(sorted(texts)),
            layout=tuple(sorted(tuple(cell) for cell in layout)),
            chart_types=tuple(sorted((name, count) for name, count in types)),
            colors=tuple(sorted({(function, color) for function, color in colors})),
            data=tuple(sorted((function, axis, tuple(map(float, values))) for function, axis, values in data)),
        )


def _rows(value: object, name: str, cap: int) -> list:
    if not isinstance(value, list) or len(value) > cap:
        raise ValueError(f'elements: {name} is not a list of at most {cap} entries')
    return value


def _is_text(value: object, cap: int) -> bool:
    return isinstance(value, str) and len(value) <= cap


def _is_number(value: object) -> bool:
    return type(value) is int and -_MAX_NUMBER <= value <= _MAX_NUMBER


def _is_series(row: object) -> bool:
    return (isinstance(row, list) and len(row) == 3 and _is_text(row[0], MAX_NAME_LENGTH) and row[1] in _AXES
            and isinstance(row[2], list) and 0 < len(row[2]) <= MAX_VALUES and all(map(_is_finite, row[2])))


def _is_finite(value: object) -> bool:
    return type(value) in (int, float) and abs(value) < 1e300 and math.isfinite(value)
