"""Golden programs as a policy: the scores that a perfect policy gets, and which charts cannot reach 100 in a measure, with the reason."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from recoder_jax.charts.chart import Chart
from recoder_jax.charts.execution import Execution
from recoder_jax.charts.sandbox import Sandbox
from recoder_jax.dialogue.response import write_response
from recoder_jax.evaluation.remote import Spoken
from recoder_jax.runs.records import ChartResult

FIXED = ('text', 'layout', 'chart_type', 'color')
EMPTY = {
    'text': 'it draws no text that chartmimic sees, and two empty sides score 0 there',
    'layout': 'none of its axes has a subplot specification',
    'chart_type': 'it calls none of the plotting functions that chartmimic lists',
    'color': 'it has no colours that chartmimic reads',
}


@dataclass(frozen=True)
class Shortfall:
    """A chart whose golden program does not reach 100 against itself. measure: such as 'fixed text' or 'chartmimic color'. score: in [0, 1]."""

    chart: str
    measure: str
    score: float
    reason: str


def golden_turns(charts: Sequence[Chart], sandbox: Sandbox) -> list[tuple[Spoken, ...]]:
    """A dialogue of one turn a chart, whose response holds the golden program."""
    executions = sandbox.execute_all([chart.program for chart in charts])
    return [(Spoken(write_response('', chart.program), execution),) for chart, execution in zip(charts, executions, strict=True)]


def shortfalls(results: Sequence[ChartResult], golden: Callable[[str], Execution], charts: Sequence[Chart]) -> list[Shortfall]:
    """Every measure below 1 of every chart, in the order of the charts."""
    found = []
    for result, chart in zip(results, charts, strict=True):
        execution = golden(chart.program)
        if not result.executed[0]:
            found.append(Shortfall(chart.id, 'executed', 0.0, f'it fails: {execution.status.value}, {execution.log.strip().rpartition(chr(10))[2][:120]}'))
            continue
        found += [Shortfall(chart.id, f'fixed {name}', getattr(result, name)[0], 'two executions differ') for name in FIXED if getattr(result, name)[0] < 1]
        seen = execution.chartmimic
        for name in FIXED:
            score = getattr(result.code_pass[0], name)
            if score < 1 - 1e-9:
                empty = seen is None or not _elements(seen, name)
                found.append(Shortfall(chart.id, f'chartmimic {name}', score, EMPTY[name] if empty else 'two executions differ'))
        if not result.visible[0]:
            found.append(Shortfall(chart.id, 'Plot2Code pass', 0.0, 'its render is all white'))
        elif (result.text_match[0] or 0.0) < 1:
            found.append(Shortfall(chart.id, 'Plot2Code text match', result.text_match[0] or 0.0, 'two executions differ'))
    return found


def report(found: Sequence[Shortfall], charts: int) -> str:
    """Markdown: how many charts fall short in each measure and why, then every one."""
    counts = Counter((each.measure, each.reason if not each.reason.startswith('it fails') else 'it fails') for each in found)
    whole = charts - len({each.chart for each in found})
    lines = [f'{whole} of {charts} golden programs reach 100 in every rule measure against themselves.', '', '| measure | charts | because |', '|---|---:|---|']
    lines += [f'| {measure} | {count} | {reason} |' for (measure, reason), count in sorted(counts.items())]
    lines += ['', '| chart | measure | score | because |', '|---|---|---:|---|']
    lines += [f'| {each.chart} | {each.measure} | {100 * each.score:.1f} | {each.reason.replace("|", "/")} |' for each in found]
    return '\n'.join(lines) + '\n'


def _elements(seen, name: str):
    return {'text': seen.texts, 'layout': seen.layout, 'chart_type': seen.chart_types, 'color': seen.colors}[name]
