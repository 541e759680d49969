"""Which two-turn dialogues teach a correction: those whose low-level rises by more than MIN_GAIN from turn 1 to turn 2 (arXiv 2604.01600).

The second turn is the model's own, or the golden program behind a diagnosis that the scores of the first one give (ours)."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from tqdm import tqdm

from recoder_jax.charts.chart import Chart
from recoder_jax.charts.execution import Execution
from recoder_jax.charts.sandbox import Sandbox
from recoder_jax.charts.scores import rule_score
from recoder_jax.data.builders import ChartRecord, CorrectionRecord
from recoder_jax.data.building import Tally, failure_reason, in_order
from recoder_jax.data.world_sets import MIN_GAIN
from recoder_jax.dialogue.response import Response, parse_response, write_response
from recoder_jax.runs.records import DialogueRecord, TurnRecord

AHEAD = 4  # dialogues under way for each program that runs at once
WRONG = {'chart_type': 'The chart type is wrong.', 'layout': 'The layout is wrong.', 'color': 'The color is wrong.', 'text': 'The text is wrong.'}


@dataclass(frozen=True)
class Pair:
    """A chart and the two responses of its dialogue, as they were said. second: None where the golden program is to follow."""

    chart: Chart
    first: Response
    second: Response | None

    @classmethod
    def of(cls, chart: Chart, texts: Sequence[str]) -> 'Pair':
        """texts: one response or two."""
        return cls(chart, *[parse_response(text) for text in texts], *[None] * (2 - len(texts)))

    @property
    def programs(self) -> tuple[str, ...]:
        """Golden and first, and second where it was said."""
        return self.chart.program, self.first.program or '', *([self.second.program or ''] if self.second else [])

    def with_golden(self, golden: Execution, first: Execution) -> 'Pair':
        """With the golden program as second turn, where none was said and that program can be written and run."""
        if self.second is not None or not golden.ok:
            return self
        try:
            text = write_response(diagnosis(first, golden), self.chart.program)
        except ValueError:
            return self
        return dataclasses.replace(self, second=parse_response(text))


def diagnosis(first: Execution, golden: Execution) -> str:
    """What the scores find wrong with a first program, a sentence each."""
    if not first.ok:
        return 'The program fails.'
    scores = rule_score(first, golden)
    return ' '.join(sentence for part, sentence in WRONG.items() if getattr(scores, part) < 1)


def reason_to_drop(pair: Pair, golden: Execution, first: Execution, second: Execution) -> str | None:
    """Why a pair teaches no correction, None where it does."""
    if not golden.ok:
        return f'golden program: {failure_reason(golden)}'
    for number, response in enumerate((pair.first, pair.second), start=1):
        if response is None or response.program is None:
            return f'no program in turn {number}'
        try:
            write_response(response.think or '', response.program)
        except ValueError:
            return f'turn {number} has a response that cannot be written'
    if not second.ok:
        return f'turn 2 fails ({failure_reason(second)})'
    gain = rule_score(second, golden).low_level - rule_score(first, golden).low_level
    if gain < 0:
        return 'low-level falls'
    return None if gain > MIN_GAIN else f'low-level rises by at most {MIN_GAIN:g}'


def correction_records(pairs: Callable[[], Iterator[Pair]], count: int, sandbox: Sandbox, tally: Tally, licence: str, model: str,
                       sample: Callable[[Pair, Sequence[Execution], str | None], None]) -> Iterator[CorrectionRecord]:  # fmt: skip
    """The pairs to learn from, in their order. sample: told of every pair, with its executions and why it is dropped."""
    done = in_order(sandbox, pairs(), lambda pair: pair.programs, AHEAD * sandbox.workers)
    for pair, (golden, first, *said) in tqdm(done, 'corrections', count, unit='dialogue', mininterval=1):
        second, pair = said[0] if said else golden, pair.with_golden(golden, first)
        reason = reason_to_drop(pair, golden, first, second)
        sample(pair, (golden, first, second), reason)
        if reason:
            tally.drop(reason, pair.chart.id)
            continue
        # the program of turn 2 is what is learnt, the golden one or a better one than the first
        chart = Chart(pair.chart.id, pair.chart.image, pair.second.program, pair.chart.kind)
        kept = ChartRecord(chart, think=pair.first.think or '', licence=licence, origin=f'{model} over {pair.chart.id}')
        yield CorrectionRecord(kept, flawed=pair.first.program, render=first.render, log=first.log, diagnosis=pair.second.think or '')


def sample_record(pair: Pair, executions: Sequence[Execution], store_render) -> DialogueRecord:
    """A pair as the viewer shows it."""
    golden, *own = executions
    turns = []
    said = [response for response in (pair.first, pair.second) if response]
    for number, (response, execution) in enumerate(zip(said, own), start=1):
        scores = rule_score(execution, golden) if golden.ok else None
        parts = {} if scores is None else {name: getattr(scores, name) for name in ('low_level', 'text', 'layout', 'chart_type', 'color')}
        render = None if execution.render is None else store_render(execution.render)
        turns.append(TurnRecord(number, response.text, response.program, execution.status.value, execution.log, render, parts, 0, False, None))
    reward = turns[-1].parts.get('low_level', 0.0)
    return DialogueRecord(0, pair.chart.id, pair.chart.kind, 0, 1, pair.chart.program, store_render(pair.chart.image), reward, tuple(turns))
