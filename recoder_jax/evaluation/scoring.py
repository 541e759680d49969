"""From played dialogues to the scores of every turn, in both score modes and in Plot2Code's measures.

`no_filter` follows ChartMimic's aggregation of that name: a program that raises is scored by what it drew before. It is executed once more
for that, with its exception swallowed; one that does not compile, runs out of time or is forbidden something has 0 there too.
"""

import re
from collections.abc import Callable, Mapping, Sequence

from recoder_jax.charts.chartmimic import ChartMimicElements
from recoder_jax.charts.execution import Execution, Status
from recoder_jax.charts.plot2code import pass_rate, text_match
from recoder_jax.charts.sandbox import Sandbox
from recoder_jax.charts.scores import RuleScore, rule_score
from recoder_jax.rollout.trajectory import Group, Turn
from recoder_jax.runs.records import ChartResult
from recoder_jax.runs.scorecards import ModeScore

NOTHING = ModeScore(0.0, 0.0, 0.0, 0.0)
_DIFFICULTY = re.compile(r'/difficulty_([^/]+)/')


def difficulty_of(chart: str) -> str:
    """The difficulty that a chart's id names, as in 'chart_world/difficulty_1/test/7'; '' where it names none."""
    found = _DIFFICULTY.search(chart)
    return found[1] if found else ''


def salvage(program: str) -> str:
    """A program that keeps what `program` drew before it raised."""
    return f'try:\n    exec(compile({program!r}, "<program>", "exec"))\nexcept BaseException:\n    pass\n'


def salvaged(sandbox: Sandbox, programs: Mapping[str, Execution]) -> dict[str, Execution]:
    """Programs by text -> the executions that `no_filter` scores, all at once; those that did not raise keep their own."""
    again = [program for program, execution in programs.items() if execution.status is Status.error and program.strip()]
    found = dict(zip(again, sandbox.execute_all([salvage(program) for program in again]), strict=True))
    return {program: found.get(program, execution) for program, execution in programs.items()}


def chart_results(groups: Sequence[Group], goldens: Callable[[str], Execution], sandbox: Sandbox, elements: bool = True) -> list[ChartResult]:
    """The scores of every turn of each chart's dialogue. goldens: golden program -> its execution. elements: whether executions have some; where not,
    the score is that of the reward, and there are none in the papers' forms."""
    if not elements:
        return [_of_pictures(group) for group in groups]
    turns = [turn for group in groups for turn in group.trajectories[0].turns]
    without_filter = salvaged(sandbox, {turn.response.program or '': turn.execution for turn in turns})
    return [_result(group, goldens(group.chart.program), without_filter) for group in groups]


def rule_rows(executions: Sequence[Execution], kept: Sequence[Execution], golden: Execution) -> dict[str, tuple]:
    """The fields of a `ChartResult` that follow from executions alone, one entry a turn. kept: the executions that `no_filter` scores."""
    fixed = [_fixed(execution, golden) for execution in executions]
    visible = [execution.render is not None and pass_rate([execution]) == 1 for execution in executions]
    return {
        'executed': tuple(score.executed for score in fixed),
        'low_level': tuple(score.low_level for score in fixed),
        **{name: tuple(getattr(score, name) for score in fixed) for name in ('text', 'layout', 'chart_type', 'color')},
        'code_pass': tuple(_chartmimic(execution, golden) for execution in executions),
        'no_filter': tuple(_chartmimic(execution, golden) for execution in kept),
        'visible': tuple(visible),
        'text_match': tuple(_text_match(execution, golden) if seen else None for execution, seen in zip(executions, visible)),
    }  # fmt: skip


def _result(group: Group, golden: Execution, without_filter: Mapping[str, Execution]) -> ChartResult:
    turns, chart = group.trajectories[0].turns, group.chart
    rows = rule_rows([turn.execution for turn in turns], [without_filter[turn.response.program or ''] for turn in turns], golden)
    judged = tuple(_judged(turn) for turn in turns)
    return ChartResult(
        chart=chart.id, kind=chart.kind, difficulty=difficulty_of(chart.id), programs=tuple(turn.response.program for turn in turns),
        high_level=judged if any(turn.reward.judgement for turn in turns) else (), **rows,
    )  # fmt: skip


def _of_pictures(group: Group) -> ChartResult:
    turns, chart = group.trajectories[0].turns, group.chart
    scores = [turn.reward.scores for turn in turns]
    return ChartResult(
        chart=chart.id, kind=chart.kind, difficulty=difficulty_of(chart.id), programs=tuple(turn.response.program for turn in turns),
        executed=tuple(score.executed for score in scores), low_level=tuple(score.low_level for score in scores),
    )  # fmt: skip


def _judged(turn: Turn) -> float | None:
    return turn.reward.judgement.score if turn.reward.judgement else None


def _fixed(execution: Execution, golden: Execution) -> RuleScore:
    """A golden program that gives no figure can be compared with nothing: 0, as its reward is."""
    return rule_score(execution, golden) if golden.elements is not None else RuleScore(False, 0.0, 0.0, 0.0, 0.0)


def _chartmimic(execution: Execution, golden: Execution) -> ModeScore:
    if golden.chartmimic is None or golden.elements is None:
        return NOTHING
    score = rule_score(execution, golden, 'chartmimic')
    return ModeScore(score.text, score.layout, score.chart_type, score.color)


def _text_match(execution: Execution, golden: Execution) -> float | None:
    sides = execution.chartmimic, golden.chartmimic
    return text_match(*sides) if all(isinstance(side, ChartMimicElements) for side in sides) else None
