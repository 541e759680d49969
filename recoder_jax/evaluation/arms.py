"""Arms of a study: the evaluations of an arm's seeds as one value with one interval."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
import math

import numpy as np
from scipy.stats import t as student

from recoder_jax.evaluation.metrics import bootstrap_interval
from recoder_jax.runs.records import Evaluation, Interval

TITLES = {
    'executed_first': 'executed, turn 1', 'executed_last': 'executed, last turn', 'low_level_first': 'low-level, turn 1', 'low_level_last': 'low-level, last turn',
    'average_improvement': 'average improvement', 'improve_rate': 'improve rate', 'degrade_rate': 'degrade rate', 'repeat_rate': 'repeat rate',
}


@dataclass(frozen=True)
class Measure:
    """value: mean over seeds. low, high: its 95 % interval. seeds: the value of each seed. In points."""

    value: float | None
    low: float | None
    high: float | None
    seeds: tuple[float, ...]


def measures_of(evaluation: Evaluation) -> dict[str, Interval]:
    """What TITLES names, of one run; those that compare turns are missing where there is one turn."""
    first, last = evaluation.turns[0], evaluation.turns[-1]
    found = {'executed_first': first.executed, 'executed_last': last.executed, 'low_level_first': first.low_level, 'low_level_last': last.low_level}
    if evaluation.corrections:
        found |= {name: getattr(evaluation.corrections[-1], name) for name in ('average_improvement', 'improve_rate', 'degrade_rate', 'repeat_rate')}
    return found


def pooled(seeds: Sequence[Interval], level: float = 0.95) -> Measure:
    """Mean over seeds. The half-width of the interval is the root of two squares: that of Student's interval over seeds, and the mean half-width
    of the bootstrap over charts, which all seeds share. One seed has the second only, and seeds that agree have no less."""
    known = [each for each in seeds if each.value is not None]
    if not known:
        return Measure(None, None, None, ())
    values, count = np.array([each.value for each in known]), len(known)
    over_charts = float(np.mean([(each.high - each.low) / 2 for each in known]))
    if count == 1:
        return Measure(known[0].value, known[0].low, known[0].high, (known[0].value,))
    half = math.hypot(student.ppf((1 + level) / 2, count - 1) * values.std(ddof=1) / math.sqrt(count), over_charts)
    return Measure(float(values.mean()), float(values.mean() - half), float(values.mean() + half), tuple(values.tolist()))


def paired(seeds: Mapping[int, np.ndarray], over: Mapping[int, np.ndarray]) -> Measure:
    """What an arm has more than another, chart by chart. seeds, over: seed -> scores [N] of the same charts, in points.

    Seeds that both have are held against each other, and the others left out. Where that would leave one of several, or none, each seed is held
    against the mean of the other arm's, and a lone one against each of them. Intervals as in `pooled`, the bootstrap over differences of charts."""
    common = [seed for seed in seeds if seed in over]
    if len(seeds) == 1 and not common:
        pairs = [(scores, other) for scores in seeds.values() for other in over.values()]
    elif len(common) > 1 or len(common) == len(seeds):
        pairs = [(seeds[seed], over[seed]) for seed in common]
    else:
        mean = np.mean(list(over.values()), axis=0)
        pairs = [(scores, mean) for scores in seeds.values()]
    return pooled([bootstrap_interval((np.asarray(one) - other) / 100) for one, other in pairs])


def arms_of(runs: Mapping[str, Sequence[Mapping[str, Interval]]]) -> dict[str, dict[str, Measure]]:
    """arm -> measure -> pooled over the seeds of the arm; runs: arm -> measures of each seed."""
    return {arm: {name: pooled([each[name] for each in seeds if name in each]) for name in TITLES} for arm, seeds in runs.items()}


def arms_table(arms: Mapping[str, Mapping[str, Measure]]) -> str:
    """Markdown: an arm a row, in points with 95 % intervals."""
    lines = [['arm', 'seeds', *TITLES.values()], ['---', *['---:'] * (1 + len(TITLES))]]
    for arm, measures in arms.items():
        cells = ['–' if each.value is None else f'{each.value:.1f} [{each.low:.1f}, {each.high:.1f}]' for each in (measures[name] for name in TITLES)]
        lines.append([arm, str(max(len(each.seeds) for each in measures.values())), *cells])
    return '\n'.join('| ' + ' | '.join(line) + ' |' for line in lines)
