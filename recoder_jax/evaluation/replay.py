"""Scoring saved programs again, without a model: the same rule scores, or what differs and which version may explain it."""

from collections.abc import Sequence
from dataclasses import dataclass

from tqdm import tqdm

from recoder_jax.charts.sandbox import Sandbox
from recoder_jax.evaluation.card import differences, reference_card
from recoder_jax.evaluation.scoring import rule_rows, salvaged
from recoder_jax.runs.directory import RunDirectory
from recoder_jax.runs.records import ChartResult, DialogueRecord

BATCH = 64  # dialogues whose executions are held at once
FIELDS = ('executed', 'low_level', 'text', 'layout', 'chart_type', 'color', 'code_pass', 'no_filter', 'visible', 'text_match')


@dataclass(frozen=True)
class Replayed:
    """What scoring again gave. different: a sentence for each score that is another one. versions: a sentence for each version that is."""

    charts: int
    scores: int
    different: tuple[str, ...]
    versions: tuple[str, ...]


def replay(run: RunDirectory, sandbox: Sandbox) -> Replayed:
    """Executes the golden and generated programs of the run's evaluation and compares every rule score. ValueError where none is saved."""
    evaluation = run.read_evaluation()
    if evaluation is None:
        raise ValueError(f'{str(run.path)!r} holds no evaluation.json; evaluate it first')
    saved = {result.chart: result for result in evaluation.results}
    records = run.read_rollouts(0)
    if {record.chart for record in records} != saved.keys():
        raise ValueError(f'the dialogues of {str(run.path)!r} are not those of its evaluation.json; evaluate it again')
    different, scores = [], 0
    for start in tqdm(range(0, len(records), BATCH), 'replay', unit='batch', mininterval=1):
        for chart, again in _again(records[start : start + BATCH], sandbox):
            found, compared = _compared(saved[chart], again)
            different += found
            scores += compared
    then = evaluation.card
    versions = differences(then, reference_card('', '', {})) if then else ['the evaluation has no reference card']
    return Replayed(len(records), scores, tuple(different), tuple(versions))


def _again(records: Sequence[DialogueRecord], sandbox: Sandbox) -> list[tuple[str, dict[str, tuple]]]:
    programs = [record.golden for record in records] + [turn.program or '' for record in records for turn in record.turns]
    executions = dict(zip(programs, sandbox.execute_all(programs), strict=True))
    without_filter = salvaged(sandbox, executions)
    found = []
    for record in records:
        own = [turn.program or '' for turn in record.turns]
        rows = rule_rows([executions[program] for program in own], [without_filter[program] for program in own], executions[record.golden])
        found.append((record.chart, rows))
    return found


def _compared(saved: ChartResult, again: dict[str, tuple]) -> tuple[list[str], int]:
    """Sentences about scores that differ, and how many were compared; what an older version did not save is left out."""
    found, compared = [], 0
    for field in FIELDS:
        for turn, (then, now) in enumerate(zip(getattr(saved, field), again[field]), start=1):
            compared += 1
            if then != now:
                found.append(f'{saved.chart}, turn {turn}: {field} was {then}, now it is {now}')
    return found, compared
