"""Self-correction metrics and their bootstrap intervals; pure functions of `ChartResult`s.

All results are in points (100 times the scores). The definitions, for turn t against turn 1, over the charts whose
turn-1 program executes, with d = low_level(t) - low_level(1):

    average improvement = mean d        improve rate = share of d > 0        degrade rate = share of d < 0
    repeat rate = share whose programs are equal after normalisation         exact rate = share whose texts are equal

A program that fails has low_level 0, so a crash at turn t counts as a degradation.
"""

from collections.abc import Callable, Sequence

import numpy as np

from recoder_jax.runs.records import ChartResult, CorrectionScores, Evaluation, Interval, TurnScores

RESAMPLES = 10_000
_CHUNK = 2_000_000      # resampled indices held at a time


def evaluation_of(results: Sequence[ChartResult], same_program: Callable[[str, str], bool], *, name: str, benchmark: str,
                  seeds: dict[str, int], config_hash: str = '', bootstrap_seed: int = 0, compared: str = 'elements') -> Evaluation:
    """What `evaluation.json` holds, but for the papers' forms and the card. compared: 'elements' or 'pictures', what low-level compares.

    Raises ValueError when there is no chart or the turns do not agree.
    """
    turns = turns_of(results)
    return Evaluation(
        name=name, benchmark=benchmark, charts=len(results), seeds=dict(seeds), config_hash=config_hash,
        turns=tuple(turn_scores(results, turn, seed=bootstrap_seed) for turn in range(1, turns + 1)),
        corrections=tuple(correction_scores(results, turn, same_program, seed=bootstrap_seed) for turn in range(2, turns + 1)),
        results=tuple(results), compared=compared)


def turns_of(results: Sequence[ChartResult]) -> int:
    """Number of turns every result has. Raises ValueError when results are missing, disagree, or hold one chart twice."""
    if not results:
        raise ValueError('there is no chart to evaluate; check the size of the benchmark split')
    turns = len(results[0].executed)
    seen = set()
    for result in results:
        parts = (result.text, result.layout, result.chart_type, result.color)
        lengths = [len(result.executed), len(result.low_level), len(result.programs), *(len(part) for part in parts if part)]
        if turns == 0 or set(lengths) != {turns}:
            raise ValueError(f'chart {result.chart} has {lengths} entries where {turns} turns are expected; '
                             'give every chart the same number of turns, at least one')
        if result.chart in seen:
            raise ValueError(f'chart {result.chart} appears twice; evaluate each chart once')
        seen.add(result.chart)
    return turns


def turn_scores(results: Sequence[ChartResult], turn: int, *, seed: int = 0) -> TurnScores:
    """Means over all charts at one turn (from 1)."""
    index = _index(results, turn)
    executed = [result.executed[index] for result in results]
    low_level = [result.low_level[index] for result in results]

    def mean_of(part: Callable[[ChartResult], tuple[float, ...]]) -> float | None:
        if not all(part(result) for result in results):
            return None
        return 100 * float(np.mean([part(result)[index] for result in results]))

    return TurnScores(turn=turn,
                      executed=bootstrap_interval(executed, seed=seed),
                      low_level=bootstrap_interval(low_level, seed=seed),
                      text=mean_of(lambda result: result.text),
                      layout=mean_of(lambda result: result.layout),
                      chart_type=mean_of(lambda result: result.chart_type),
                      color=mean_of(lambda result: result.color))


def correction_scores(results: Sequence[ChartResult], turn: int, same_program: Callable[[str, str], bool], *,
                      seed: int = 0) -> CorrectionScores:
    """Turn `turn` (from 2) against turn 1. All intervals are None when no turn-1 program executes.

    same_program: equality after normalisation; `charts.scores.same_program` for real programs.
    """
    index = _index(results, turn)
    counted = [result for result in results if result.executed[0]]
    gain = np.array([result.low_level[index] - result.low_level[0] for result in counted])
    pairs = [(result.programs[0], result.programs[index]) for result in counted]
    exact = [first is not None and first == later for first, later in pairs]
    repeated = [same or (first is not None and later is not None and same_program(first, later))
                for same, (first, later) in zip(exact, pairs)]
    return CorrectionScores(turn=turn, charts=len(counted),
                            average_improvement=bootstrap_interval(gain, seed=seed),
                            improve_rate=bootstrap_interval(gain > 0, seed=seed),
                            degrade_rate=bootstrap_interval(gain < 0, seed=seed),
                            repeat_rate=bootstrap_interval(repeated, seed=seed),
                            exact_rate=bootstrap_interval(exact, seed=seed))


def low_level_difference(before: Sequence[ChartResult], after: Sequence[ChartResult], before_turn: int | None = None,
                         after_turn: int | None = None, *, seed: int = 0) -> Interval:
    """Mean of low_level(after) - low_level(before) at the given turns (default: each side's last), paired by chart.

    Raises ValueError when the two sides did not see the same charts.
    """
    sides = ((before, before_turn), (after, after_turn))
    indices = [turns_of(side) - 1 if turn is None else _index(side, turn) for side, turn in sides]
    first = {result.chart: result.low_level[indices[0]] for result in before}
    second = {result.chart: result.low_level[indices[1]] for result in after}
    if first.keys() != second.keys():
        unpaired = sorted(first.keys() ^ second.keys())
        raise ValueError(f'{len(unpaired)} charts are on one side only, for example {unpaired[0]}; '
                         'compare evaluations of the same charts')
    return paired_bootstrap([first[chart] for chart in first], [second[chart] for chart in first], seed=seed)


def paired_bootstrap(before: Sequence[float], after: Sequence[float], *, seed: int = 0, resamples: int = RESAMPLES,
                     level: float = 0.95) -> Interval:
    """Interval of mean(after - before), resampling pairs."""
    before, after = np.asarray(before, np.float64), np.asarray(after, np.float64)
    if before.shape != after.shape:
        raise ValueError(f'{before.size} values cannot be paired with {after.size}; give one value a chart on both sides')
    return bootstrap_interval(after - before, seed=seed, resamples=resamples, level=level)


def bootstrap_interval(values: Sequence[float], *, seed: int = 0, resamples: int = RESAMPLES, level: float = 0.95) -> Interval:
    """Mean of `values` [N] and its percentile bootstrap interval, times 100. The same seed gives the same interval."""
    values = np.asarray(values, np.float64)
    if values.size == 0:
        return Interval(None, None, None)
    rng = np.random.default_rng(seed)
    rows = max(1, _CHUNK // values.size)
    means = [values[rng.integers(values.size, size=(min(rows, resamples - start), values.size))].mean(axis=1)
             for start in range(0, resamples, rows)]
    low, high = np.quantile(np.concatenate(means), [(1 - level) / 2, (1 + level) / 2])
    return Interval(100 * float(values.mean()), 100 * float(low), 100 * float(high))


def bootstrap_intervals(values: np.ndarray, *, seed: int = 0, resamples: int = RESAMPLES, level: float = 0.95) -> list[Interval]:
    """Mean and percentile bootstrap interval, times 100, of each row of `values` [M, N]; a resample takes the same charts in all rows.

    nan is a chart that does not count in a row; a row without charts has an interval of None.
    """
    counted = ~np.isnan(values)
    filled = np.where(counted, values, 0.0)
    count, rng = values.shape[1], np.random.default_rng(seed)
    rows, means = max(1, _CHUNK // max(count, 1)), []
    for start in range(0, resamples, rows):
        size = min(rows, resamples - start)
        drawn = rng.integers(count, size=(size, count)) + count * np.arange(size)[:, None]
        times = np.bincount(drawn.ravel(), minlength=size * count).reshape(size, count).astype(np.float64)      # how often each chart is drawn
        with np.errstate(invalid='ignore', divide='ignore'):
            means.append((times @ filled.T) / (times @ counted.T))
    drawn_means = np.concatenate(means)
    return [_interval(filled[row][counted[row]], drawn_means[:, row], level) for row in range(len(values))]


def _interval(values: np.ndarray, means: np.ndarray, level: float) -> Interval:
    if not values.size:
        return Interval(None, None, None)
    low, high = np.nanquantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(100 * float(values.mean()), 100 * float(low), 100 * float(high))


def _index(results: Sequence[ChartResult], turn: int) -> int:
    turns = turns_of(results)
    if not 1 <= turn <= turns:
        raise ValueError(f'turn {turn} was not played; choose one of 1 to {turns}')
    return turn - 1
