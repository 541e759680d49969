"""MSRL's textual reward: chart types, layout, texts and data values of two charts, compared as values (arXiv 2508.13587).

    textual = sum_i w_i F_i / sum_i w_i            i in chart_types, layout, texts, data
    F       = 2 matched / (generated + golden)     in [0, 1]; 1 where both are empty

    chart_types   plotting calls of equal chart type match
    layout        equal places in a grid match
    texts         drawn texts, paired so that the sum of 1 - edits / longer length is greatest
    data          values match within `tolerance` (5 % in the paper), relative to the larger of the two

The paper compares what it parses from two programs. Here everything is taken from what the programs drew (`charts/elements`,
replayed), so text that is not drawn earns nothing, and loops and computed data need no parsing. The values of chart types
that drawing does not show (heatmaps, contours, anything polar) are read from the program in canonical form (`charts/canonical`),
for a chart type of which as many calls were drawn as stand in its text, each where a program passes once.

In `data`, series are paired one to one so that most values match, whatever the chart type that shows them, which is a part of its
own; values of a series match in their order (the longest common subsequence) or, with order = 'free', in any. A chart type
whose golden values cannot be read is left out on both sides; where no golden value can be read at all, the part is left out
and its weight goes to the others.

The inner weights are not published; equal ones are ours, and so are the harmonic mean, the pairings and the canonical form.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from recoder_jax.charts.canonical import UNKNOWN, canonical
from recoder_jax.charts.elements import MAX_VALUES, Elements
from recoder_jax.charts.execution import Execution
from recoder_jax.rewards.alignment import MAX_TEXTS, common_in_any_order, common_in_order, text_similarity

PARTS = ('chart_types', 'layout', 'texts', 'data')
ORDERS = ('kept', 'free')
_MAX_PAIRED = 16           # longest series a side, of those that are not equal, that are paired; further ones match nothing
_SERIES_BY_COLOUR = {'imshow': 'heatmap'}      # plotting function -> chart type it shows where it has a colormap

Data = dict[str, list[tuple[float, ...]]]      # chart type -> series


@dataclass(frozen=True)
class TextualOptions:
    """Inner weights by part, of any scale; tolerance: greatest relative error of a value; order: 'kept' or 'free'."""

    chart_types: float = 1.0
    layout: float = 1.0
    texts: float = 1.0
    data: float = 1.0
    tolerance: float = 0.05
    order: str = 'kept'

    def __post_init__(self):
        weights = [getattr(self, name) for name in PARTS]
        if not (min(weights) >= 0 and 0 < sum(weights) < float('inf')):
            raise ValueError(f'the weights of the textual parts are {weights}; give numbers from 0, one of them above 0')
        if not 0 <= self.tolerance < 1:
            raise ValueError(f'the tolerance of data values is {self.tolerance}; give a number from 0 to below 1')
        if self.order not in ORDERS:
            raise ValueError(f'the order of data values is {self.order!r}; choose {" or ".join(ORDERS)}')


@dataclass(frozen=True)
class TextualScore:
    """F of each part in [0, 1]; data None where no golden value can be read. total: their weighted mean."""

    total: float
    chart_types: float
    layout: float
    texts: float
    data: float | None


def textual_score(
    generated: Execution, golden: Execution, programs: tuple[str, str] = ('', ''), options: TextualOptions = TextualOptions()
) -> TextualScore:
    """Compares two executions; `programs`: what was executed, generated and golden, '' where unknown.

    All parts are 0 where the generated program gave no figure. ValueError where the golden one gave none.
    """
    if golden.elements is None:
        raise ValueError('the golden program gave no figure; give one that runs')
    if generated.elements is None:
        return TextualScore(0.0, 0.0, 0.0, 0.0, 0.0)
    a, b = generated.elements, golden.elements
    parts = {
        'chart_types': _f1((Counter(dict(a.chart_types)) & Counter(dict(b.chart_types))).total(),
                           sum(count for _, count in a.chart_types), sum(count for _, count in b.chart_types)),
        'layout': _f1((Counter(a.layout) & Counter(b.layout)).total(), len(a.layout), len(b.layout)),
        'texts': texts_f1(a.texts, b.texts),
        'data': data_f1(data_of(a, programs[0]), data_of(b, programs[1]), golden_elements=b, options=options),
    }
    had = {name: value for name, value in parts.items() if value is not None}
    weight = sum(getattr(options, name) for name in had)
    total = sum(getattr(options, name) * value for name, value in had.items()) / weight if weight > 0 else 0.0
    return TextualScore(min(1.0, total), **parts)


def _f1(matched: float, generated: int, golden: int) -> float:
    return min(1.0, 2 * matched / (generated + golden)) if generated + golden else 1.0


def texts_f1(generated: Sequence[str], golden: Sequence[str]) -> float:
    """Equal texts are paired first; of the others at most MAX_TEXTS a side are compared by edit distance."""
    ours, theirs = Counter(generated), Counter(golden)
    equal = (ours & theirs).total()
    left, right = sorted((ours - theirs).elements()), sorted((theirs - ours).elements())
    similarity = text_similarity(left[:MAX_TEXTS], right[:MAX_TEXTS])
    return _f1(equal + _best(similarity), len(generated), len(golden))


def _best(values: np.ndarray) -> float:
    """The greatest sum over pairs, each row and column used once, of values [N, M]."""
    return float(values[linear_sum_assignment(values, maximize=True)].sum())


def data_of(elements: Elements, program: str) -> Data:
    """Series by chart type: those that were drawn, and for other chart types those of the program's text."""
    found: Data = defaultdict(list)
    for name, _, values in elements.data:
        found[name].append(values)
    silent = {name: count for name, count in elements.chart_types if name not in found}
    return dict(found) | (_written(program, silent) if silent and program else {})


def _written(program: str, silent: dict[str, int]) -> dict[str, list[tuple[float, ...]]]:
    """Series of the calls in a program's text, for chart types that were drawn as often as they are written there."""
    form = canonical(program)
    by_type: dict[str, list] = defaultdict(list)
    for call in form.calls if form else ():
        name = _SERIES_BY_COLOUR.get(call.function, call.function)
        by_type[next((kind for kind in silent if kind == name or kind.rpartition('_')[0] == name), name)].append(call)
    found = {}
    for name, calls in by_type.items():
        series = [_numbers(value) for call in calls for value in (call.data or [UNKNOWN])]
        if silent.get(name) == len(calls) and all(one is not None for one in series):
            found[name] = [one for one in series if one]
    return found


def _numbers(value: object) -> tuple[float, ...] | None:
    """The finite numbers of a folded value, row by row, evenly thinned to MAX_VALUES; () for texts, None for what is neither."""
    try:
        numbers = np.asarray(list(value.values()) if isinstance(value, dict) else value, float).ravel()
    except (TypeError, ValueError):
        flat = np.asarray(value, object).ravel() if isinstance(value, list | tuple) else [value]
        return () if all(isinstance(one, str) for one in flat) else None
    numbers = numbers[np.isfinite(numbers)]
    if len(numbers) > MAX_VALUES:
        numbers = numbers[np.linspace(0, len(numbers) - 1, MAX_VALUES).round().astype(int)]
    return tuple(numbers.tolist())


def data_f1(generated: Data, golden: Data, golden_elements: Elements, options: TextualOptions = TextualOptions()) -> float | None:
    """F of data values; None where no golden value can be read."""
    if not golden:
        return None
    unreadable = {name for name, _ in golden_elements.chart_types} - golden.keys()
    ours = [values for name, series in generated.items() if name not in unreadable for values in series]
    theirs = [values for series in golden.values() for values in series]
    count = common_in_order if options.order == 'kept' else common_in_any_order
    equal = Counter(ours) & Counter(theirs)  # paired first, so that a chart of many series matches itself whole
    left, right = ((Counter(side) - equal).elements() for side in (ours, theirs))
    matched = sum(map(len, equal.elements())) + _best(count(_longest_of(left), _longest_of(right), options.tolerance))
    return _f1(matched, sum(map(len, ours)), sum(map(len, theirs)))


def _longest_of(series: Iterable[tuple[float, ...]]) -> list[tuple[float, ...]]:
    return sorted(series, key=lambda values: (-len(values), values))[:_MAX_PAIRED]
