"""Scores in the papers' forms: turn by turn, and by rules that choose one turn of a dialogue; and breakdowns. Pure functions of `ChartResult`s.

    last turn             what the policy said last, whether it runs or not
    last executed turn    the last turn whose program gave a figure; the last turn where none did
    best executed turn    the turn with the highest low-level; it needs the golden program, so it bounds what choosing could reach
"""

from collections.abc import Callable, Sequence

import numpy as np

from recoder_jax.evaluation.metrics import bootstrap_intervals, turns_of
from recoder_jax.runs.records import ChartResult
from recoder_jax.runs.scorecards import Breakdown, PaperScores

LAST, LAST_EXECUTED, BEST_EXECUTED = 'last turn', 'last executed turn', 'best executed turn'
Choice = Callable[[ChartResult], int]


def choices(turns: int) -> dict[str, Choice]:
    """Rule -> the index of the turn it takes of a result, for dialogues of `turns` turns."""
    found: dict[str, Choice] = {f'turn {turn}': lambda result, index=turn - 1: index for turn in range(1, turns + 1)}
    if turns > 1:
        found |= {LAST: lambda result: turns - 1, LAST_EXECUTED: _last_executed, BEST_EXECUTED: _best_executed}
    return found


def paper_scores(results: Sequence[ChartResult], *, seed: int = 0) -> tuple[PaperScores, ...]:
    """One row a rule. Empty where the results hold no scores of the mode `chartmimic`."""
    turns = turns_of(results)
    if not all(result.code_pass for result in results):
        return ()
    return tuple(_row(name, [_entries(result, choose(result)) for result in results], seed) for name, choose in choices(turns).items())


def breakdowns(results: Sequence[ChartResult], *, seed: int = 0) -> tuple[Breakdown, ...]:
    """By type, then by difficulty; a property that all charts share, or none has, is left out."""
    found = []
    for by in ('kind', 'difficulty'):
        values = sorted({getattr(result, by) for result in results} - {''})
        if len(values) > 1:
            found += [_breakdown(by, value, [result for result in results if getattr(result, by) == value], seed) for value in values]
    return tuple(found)


def _last_executed(result: ChartResult) -> int:
    return max((index for index, executed in enumerate(result.executed) if executed), default=len(result.executed) - 1)


def _best_executed(result: ChartResult) -> int:
    return max(range(len(result.executed)), key=lambda index: (result.executed[index], result.low_level[index], -index))


def _entries(result: ChartResult, index: int) -> list[float | None]:
    """The values of one chart in the order of `PaperScores`."""
    code_pass, high = result.code_pass[index], result.high_level[index] if result.high_level else None
    overall = None if high is None else (code_pass.low_level + high) / 2
    return [result.executed[index], result.low_level[index], code_pass.text, code_pass.layout, code_pass.chart_type, code_pass.color,
            code_pass.low_level, result.no_filter[index].low_level, high, overall, result.visible[index], result.text_match[index],
            _own_scale(result.rating, index), _own_scale(result.grade, index)]


def _own_scale(judged: Sequence[float | None], index: int) -> float | None:
    """What an interval of percentages shows as it is."""
    return judged[index] / 100 if judged and judged[index] is not None else None


def _row(choice: str, entries: list[list[float | None]], seed: int) -> PaperScores:
    return PaperScores(choice, *bootstrap_intervals(np.array(entries, np.float64).T, seed=seed))


def _breakdown(by: str, value: str, results: list[ChartResult], seed: int) -> Breakdown:
    several = len(results[0].executed) > 1
    gains = [result.low_level[-1] - result.low_level[0] if several and result.executed[0] else np.nan for result in results]
    rows = np.array([
        [result.executed[0] for result in results], [result.executed[-1] for result in results],
        [result.low_level[0] for result in results], [result.low_level[-1] for result in results], gains,
        [_own_scale(result.rating, -1) for result in results], [_own_scale(result.grade, -1) for result in results],
    ], np.float64)
    return Breakdown(by, value, len(results), *bootstrap_intervals(rows, seed=seed))


def headline(rows: Sequence[PaperScores], choice: str) -> PaperScores | None:
    """The row of a rule; None where there is none."""
    return next((row for row in rows if row.choice == choice), None)

