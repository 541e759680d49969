"""ChartMimic's four low-level scores, from what its evaluators note in a script. `chartmimic_recorder` does the noting.

Source: github.com/ChartMimic/ChartMimic at c9e149c, chart2code/utils/evaluator, under its matplotlib 3.8.4. Nothing of it
is copied. `docs/scores.md` has the measured agreement. What follows from its definitions, kept here:

    text        Lines that reach the renderer's draw_text, compared as exact strings: case, spaces and mathtext markup
                count, an empty line is a text, text drawn as outlines (path effects), by TeX or rasterised is not.
                Major tick labels of x and y axes are left out; those of z axes, of inset and secondary axes, and minor
                ones stay. A script that itself saves a PDF by a figure's savefig counts every text once more.
    layout      Only axes with a subplot specification count: axes placed freely do not. A colour bar of a subplot
                counts, and so do twin axes.
    chart type  Outermost calls of a fixed list of functions; pcolormesh, hexbin, hist2d, streamplot, tables and more
                are not on it. `scatter` and `bar` in 3D count as in 2D. After an exception inside a listed call
                nothing more is counted, even if the program catches it.
    colour      A set: eight bars of one colour are one entry. Entries are met by their first colour, the last object of
                equal entries stays, and its colours are read again at the end. Alpha is dropped but for strings
                '#RRGGBBAA'. An RGB image has the colormap it does not use.
    all         Two empty sides do not agree: 0, as for one empty side.

Where theirs is random, crashes, or carries a number over, the mode does this instead:

    more than 10 colours    theirs drops similar ones in an order that depends on the hash seed of the process: sorted
                            order here
    golden without colours  theirs divides by zero (unless the path contains 'box'): 0
    generated without calls theirs leaves the numbers of the sample before: 0
    crashes of its hooks    seaborn bars, empty collections, colours such as ('red', 0.5), networkx parameters newer
                            than 3.2: noted as if the hook had not crashed
    paths with '/graph'     theirs gives every axes one and the same cell: never here
    permutations            enumerated there (minutes for 9 colours of one function): linear assignment, the same optimum
    matplotlib >= 3.10      theirs notes no lines: noted here in every version from 3.8

A program that fails scores 0 (`code_pass` there). Its other setting, `no_filter`, scores what was drawn before the
exception; it is left out.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recoder_jax.charts.colour import color_similarity, delta_e, lab_from_hex

MAX_TEXTS = 4_000
MAX_TEXT_LENGTH = 500
MAX_CHARACTERS = 200_000      # of all texts
MAX_AXES = 512
MAX_CHART_TYPES = 256
MAX_COLORS = 4_096
MAX_NAME_LENGTH = 80
MAX_PLACE = 1e12
_MAX_NUMBER = 1_000_000
_FIELDS = ('texts', 'layout', 'chart_types', 'colors', 'placed', 'size')
_MANY_COLORS = 10             # more than these are thinned out
_SIMILAR = 0.7                # what is more similar than this to a kept colour goes


@dataclass(frozen=True)
class ChartMimicElements:
    """What the evaluators of ChartMimic, and for `placed` and `size` of Plot2Code, note of one script; sorted tuples.

    Attributes:
        texts: lines of text as given to the renderer; equal texts repeat.
        layout: (rows, columns, first row, last row, first column, last column) of each axes with a specification.
        chart_types: (function, number of outermost calls).
        colors: distinct (function, '#RRGGBB', '#RRGGBBAA' or name of a colormap).
        placed: (text stripped and in lower case, x, y) of each drawn text, tick labels too, in its own coordinates.
        size: width and height of the figure in inches.
    """

    texts: tuple[str, ...]
    layout: tuple[tuple[int, int, int, int, int, int], ...]
    chart_types: tuple[tuple[str, int], ...]
    colors: tuple[tuple[str, str], ...]
    placed: tuple[tuple[str, float, float], ...] = ()
    size: tuple[float, float] = (0.0, 0.0)

    def to_json(self) -> dict:
        """A dictionary of lists, strings and finite numbers that `json.dumps` takes."""
        return {
            'texts': list(self.texts),
            'layout': [list(cell) for cell in self.layout],
            'chart_types': [list(item) for item in self.chart_types],
            'colors': [list(item) for item in self.colors],
            'placed': [list(item) for item in self.placed],
            'size': list(self.size),
        }

    @classmethod
    def from_json(cls, value: object) -> 'ChartMimicElements':
        """Elements from `to_json`'s form; ValueError for another form or a size over a cap."""
        if not isinstance(value, dict) or set(value) != set(_FIELDS):
            raise ValueError(f'ChartMimic elements need exactly the keys {", ".join(_FIELDS)}')
        texts = _rows(value['texts'], 'texts', MAX_TEXTS)
        if not all(_is_text(text, MAX_TEXT_LENGTH) for text in texts) or sum(map(len, texts)) > MAX_CHARACTERS:
            raise ValueError(f'ChartMimic elements: the texts are not strings of at most {MAX_TEXT_LENGTH} characters '
                             f'and {MAX_CHARACTERS} in all')
        layout = _rows(value['layout'], 'layout', MAX_AXES)
        if not all(_is_row(cell, 6) and all(map(_is_number, cell)) for cell in layout):
            raise ValueError('ChartMimic elements: a layout entry is not a list of six integers')
        types = _rows(value['chart_types'], 'chart_types', MAX_CHART_TYPES)
        if not all(_is_row(item, 2) and _is_text(item[0], MAX_NAME_LENGTH) and _is_number(item[1]) and item[1] > 0
                   for item in types) or len({name for name, _ in types}) != len(types):
            raise ValueError('ChartMimic elements: the chart types are not distinct names with a positive count')
        colors = _rows(value['colors'], 'colors', MAX_COLORS)
        if not all(_is_row(item, 2) and all(_is_text(part, MAX_NAME_LENGTH) for part in item) for item in colors):
            raise ValueError('ChartMimic elements: a colour is not a pair of names')
        if any(color.startswith('#') and not re.fullmatch('#([0-9A-F]{6}|[0-9A-F]{8})', color) for _, color in colors):
            raise ValueError('ChartMimic elements: a colour starts with # and is not of the form #RRGGBB or #RRGGBBAA')
        placed, size = _rows(value['placed'], 'placed', MAX_TEXTS), value['size']
        if not all(_is_row(item, 3) and _is_text(item[0], MAX_TEXT_LENGTH) and all(map(_is_place, item[1:]))
                   for item in placed) or not (_is_row(size, 2) and all(map(_is_place, size))):
            raise ValueError('ChartMimic elements: a placed text is not a text and two numbers, or the size is not two')
        return cls(
            texts=tuple(sorted(texts)),
            layout=tuple(sorted(tuple(cell) for cell in layout)),
            chart_types=tuple(sorted((name, count) for name, count in types)),
            colors=tuple(sorted({(function, color) for function, color in colors})),
            placed=tuple(sorted((text, float(x), float(y)) for text, x, y in placed)),
            size=(float(size[0]), float(size[1])),
        )


@dataclass(frozen=True)
class Match:
    """What was matched, a number of entries, and how many each side has."""

    matched: float
    generated: int
    golden: int

    @property
    def precision(self) -> float:
        return self.matched / self.generated if self.generated and self.golden else 0.0

    @property
    def recall(self) -> float:
        return self.matched / self.golden if self.generated and self.golden else 0.0

    @property
    def f1(self) -> float:
        """Harmonic mean, 0 when a side is empty."""
        if not self.generated or not self.golden:
            return 0.0
        return min(1.0, 2 * self.matched / (self.generated + self.golden))


def match_texts(generated: ChartMimicElements, golden: ChartMimicElements) -> Match:
    """Equal strings, each used once."""
    return _match_multisets(Counter(generated.texts), Counter(golden.texts))


def match_layout(generated: ChartMimicElements, golden: ChartMimicElements) -> Match:
    """Equal cells, each used once."""
    return _match_multisets(Counter(generated.layout), Counter(golden.layout))


def match_chart_types(generated: ChartMimicElements, golden: ChartMimicElements) -> Match:
    """Calls of the same function."""
    return _match_multisets(Counter(dict(generated.chart_types)), Counter(dict(golden.chart_types)))


def match_colors(generated: ChartMimicElements, golden: ChartMimicElements) -> Match:
    """Summed similarity of colours of the same function, assigned one to one so that it is greatest."""
    from scipy.optimize import linear_sum_assignment      # here, because fork servers import this module and never match

    first, second = thinned_colors(generated.colors), thinned_colors(golden.colors)
    matched = 0.0
    for function in sorted({function for function, _ in first} & {function for function, _ in second}):
        similarity = color_similarity([_without_alpha(color) for name, color in first if name == function],
                                      [_without_alpha(color) for name, color in second if name == function])
        matched += float(similarity[linear_sum_assignment(similarity, maximize=True)].sum())
    return Match(matched, len(first), len(second))


def thinned_colors(colors: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """At most 10 colours as they are; of more, those that are not similar to one kept before, in sorted order."""
    colors = sorted(colors)
    if len(colors) <= _MANY_COLORS:
        return colors
    is_hex = np.array([color.startswith('#') for _, color in colors])
    lab = np.zeros((len(colors), 3))
    lab[is_hex] = lab_from_hex([_without_alpha(color) for _, color in colors if color.startswith('#')])
    left, names, kept = np.ones(len(colors), bool), set(), []
    for place, (function, color) in enumerate(colors):
        if not left[place] or color in names:
            continue
        kept.append((function, color))
        if is_hex[place]:
            rest = np.flatnonzero(left & is_hex)
            left[rest] = 1 - delta_e(lab[place], lab[rest]) / 100 <= _SIMILAR
        else:
            names.add(color)
    return kept


def _match_multisets(generated: Counter, golden: Counter) -> Match:
    return Match((generated & golden).total(), generated.total(), golden.total())


def _without_alpha(color: str) -> str:
    return color[:7] if color.startswith('#') else color


def _rows(value: object, name: str, cap: int) -> list:
    if not isinstance(value, list) or len(value) > cap:
        raise ValueError(f'ChartMimic elements: {name} is not a list of at most {cap} entries')
    return value


def _is_row(value: object, length: int) -> bool:
    return isinstance(value, list) and len(value) == length


def _is_place(value: object) -> bool:
    return type(value) in (int, float) and abs(value) <= MAX_PLACE      # False for what is not finite


def _is_text(value: object, cap: int) -> bool:
    return isinstance(value, str) and len(value) <= cap


def _is_number(value: object) -> bool:
    return type(value) is int and -_MAX_NUMBER <= value <= _MAX_NUMBER
