"""What benchmarks have a judge asked beside the model reward's six items: Plot2Code's rating and ChartX's grade (rewards/judge_forms.py).

    rating   target beside render, of every turn whose render is not all white, as Plot2Code leaves those out
    grade    data, title and type of the chart beside the program, of every turn; one without a program has 0

Questions are asked when all dialogues are played. Judgements stay in the judge's cache, so that an evaluation that was stopped, or whose judge was
away, asks only for what is missing. A judgement that cannot be had is None, never 0; where none can be had, the measure is absent with the reason.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from tqdm import tqdm

from recoder_jax.charts.chart import Chart
from recoder_jax.dialogue.images import load_image
from recoder_jax.doors import AGAIN, Ended
from recoder_jax.evaluation.blocks import Scored
from recoder_jax.rewards.judge_forms import FORMS, GRADE, RATING, grade_text
from recoder_jax.rewards.judgement import AskedForJudgements, FailureKind, Judgement
from recoder_jax.runs.directory import RunDirectory
from recoder_jax.runs.records import DialogueRecord, TurnRecord

OF_BENCHMARKS = {'plot2code': RATING.name, 'chartx': GRADE.name}
BATCH = 32  # charts whose questions are under way at once
LASTING = (FailureKind.unusable, FailureKind.refused, FailureKind.too_large, FailureKind.internal)  # asking again would give the same
NOTHING = Judgement(score=0.0, items={GRADE.name: 0.0})


def question_of(data: str, wanted: str) -> str:
    """The name of the form that is asked, '' for none. data: name of the set. wanted: evaluation.question."""
    if wanted == 'benchmark':
        return OF_BENCHMARKS.get(data.partition('/')[0], '')
    return '' if wanted == 'none' else wanted


def check_question(question: str, charts: Sequence[Chart]) -> None:
    """Raises ValueError where charts lack what the question shows."""
    if question == GRADE.name and not charts[0].csv:
        raise ValueError(f'chart {charts[0].id} holds no data to grade against; prepare chartx again, or set evaluation.question to none')


def graded(whole: Scored, question: str, judge: AskedForJudgements | None, charts: Sequence[Chart], run: RunDirectory) -> tuple[Scored, dict[str, str]]:
    """Asks the judge about every turn: the charts with their judgements, and why a measure is absent or some of it missing, by its name.

    charts: of `whole`, in its order. question: '' asks nothing.

    Raises Ended where the judge could not be reached for some and may be later.
    """
    if not question:
        return whole, {}
    if judge is None:
        return whole, {question: 'no judge was asked: judge.base_url and judge.policy are empty'}
    results, failures = [], []
    with tqdm(total=len(whole.results), desc=question, unit='chart', mininterval=1.0) as progress:
        for start in range(0, len(whole.results), BATCH):
            stop = min(start + BATCH, len(whole.results))
            asked = [_asked(question, whole.records[number], charts[number], judge, run) for number in range(start, stop)]
            for result, pending in zip(whole.results[start:stop], asked, strict=True):
                judgements = [each and (each if isinstance(each, Judgement) else each.result()) for each in pending]
                failures += [each for each in judgements if each and each.score is None]
                results.append(replace(result, **{question: tuple(each and each.items.get(question) for each in judgements)}))
                progress.update()
    had = sum(value is not None for result in results for value in getattr(result, question))
    return Scored(tuple(results), whole.records), _absent(question, failures, had)


def _absent(question: str, failures: Sequence[Judgement], had: int) -> dict[str, str]:
    """Why some or all judgements are missing, by the name of the measure. Raises Ended where asking again may help."""
    if not failures:
        return {} if had else {question: 'there is nothing to judge: no turn has what the question shows'}
    kinds = ', '.join(f'{kind} {count}' for kind, count in Counter(each.kind.value for each in failures).most_common())
    sentence = f'the judge gave no {question} for {len(failures)} of {len(failures) + had} turns ({kinds}; the first: {failures[0].failure})'
    if any(each.kind not in LASTING for each in failures) or (not had and all(each.kind is FailureKind.refused for each in failures)):
        raise Ended(f'{sentence}; run the same command again to ask only for those', AGAIN)
    return {question: sentence}


def _asked(question: str, record: DialogueRecord, chart: Chart, judge: AskedForJudgements, run: RunDirectory) -> list:
    """Of each turn: a judgement, one under way, or None where there is nothing to ask."""
    if question == GRADE.name:
        return [_grade(turn, chart, judge) for turn in record.turns]
    target = load_image(run.renders / record.target)
    renders = [load_image(run.renders / turn.render) if turn.render else None for turn in record.turns]
    return [judge.put(FORMS[question], images=(target, render)) if render is not None and np.any(render < 255) else None for render in renders]


def _grade(turn: TurnRecord, chart: Chart, judge: AskedForJudgements):
    if not turn.program:
        return NOTHING
    return judge.put(GRADE, grade_text(chart.csv, chart.title, chart.kind, turn.program))
