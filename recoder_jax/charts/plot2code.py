"""Plot2Code's two automatic measures: pass rate and text-match ratio (TencentARC/Plot2Code at 12bd95a, plot2code/eval).

    text match = matched / (matched + golden texts left + generated texts left), 1 when there are none

Two texts match when they are equal, stripped and in lower case, and less than 22.3 units apart (exp(-d / 100) > 0.8),
after the generated places are scaled by the ratio of the figure sizes. Each text is used once; matches are assigned so
that there are as many as possible. Its places are what each text says of itself: data, axes and figure coordinates mixed.

Left out here: texts that are empty, and texts it finds in a figure that are not drawn.
"""

import math
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from recoder_jax.charts.chartmimic import ChartMimicElements
from recoder_jax.charts.execution import Execution

MAX_DISTANCE = -100 * math.log(0.8)


def pass_rate(executions: Sequence[Execution]) -> float:
    """Share of executions whose render is not all white. ValueError for none."""
    if not executions:
        raise ValueError('the pass rate of no executions is asked for; give at least one')
    return sum(execution.render is not None and bool((execution.render < 255).any())
               for execution in executions) / len(executions)


def text_match(generated: ChartMimicElements, golden: ChartMimicElements) -> float:
    """Text-match ratio in [0, 1]. Its mean is taken over programs that pass."""
    scale = [wanted / size if size > 0 else 1.0 for size, wanted in zip(generated.size, golden.size)]
    there, here = _places(golden), _places(generated)
    matched = sum(_pairs(np.array(here[text]) * scale, np.array(there[text])) for text in here.keys() & there.keys())
    total = len(generated.placed) + len(golden.placed) - matched
    return matched / total if total else 1.0


def _places(elements: ChartMimicElements) -> dict[str, list[tuple[float, float]]]:
    places = defaultdict(list)
    for text, x, y in elements.placed:
        places[text].append((x, y))
    return places


def _pairs(first: np.ndarray, second: np.ndarray) -> int:
    """The greatest number of pairs of near places, [N, 2] and [M, 2], each used once."""
    near = np.hypot(*np.moveaxis(first[:, None] - second[None], -1, 0)) < MAX_DISTANCE
    return int(near[linear_sum_assignment(near, maximize=True)].sum())
