"""`report.html` of a run, of a chain of runs, or of runs side by side: what it is, results, alarms, curves, dialogues. One file, no network.

Images are not copied: the page refers to RUN/renders by relative path, so it stays with its runs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
import math
import os
from pathlib import Path

from recoder_jax.runs.alarms import metrics_of
from recoder_jax.runs.arrangement import ARRANGEMENTS, Group, Member, arrangement_of, differences, flatten, groups_of, is_seed, names_of
from recoder_jax.runs.costs import Cost, cost_of, money, spending_of
from recoder_jax.runs.directory import RunDirectory
from recoder_jax.runs.records import AlarmRecord, Evaluation, Interval, encode_numbers
from recoder_jax.runs.timelines import last_picture
from recoder_jax.runs.viewer import SameProgram, Source, dialogue_data, environment, pick_dialogues, same_text, write_page

_POINTS = 1_500      # points of a curve kept in the page; more are averaged in equal buckets


@dataclass(frozen=True)
class Comparison:
    """A difference to print under the results: 'low-level at turn 2, stage2 over sft', with its interval."""

    label: str
    difference: Interval


@dataclass(frozen=True)
class AlarmRow:
    """The alarms of one name in one run: how often, the steps of the first and the last, what the last one said."""

    run: str
    alarm: str
    times: int
    first: int
    last: int
    sentence: str
    stopped: bool


@dataclass(frozen=True)
class Stage:
    """One run as the page shows it.

    Attributes:
      name: name of the run directory, with as much of its path as tells the runs apart.
      steps: number of steps with metrics.
      seconds: sum of time/step, None when it was not measured.
      seeds: every config entry whose key is `seed` or ends in `_seed`.
      versions: the config's `versions`.
      config: the config, flattened to dotted keys.
      evaluation: content of evaluation.json, if there.
      dialogues: number of dialogues on disk.
      alarms: those that began, in order.
    """

    name: str
    steps: int
    seconds: float | None
    seeds: dict[str, object]
    versions: dict[str, str]
    config: dict[str, object]
    evaluation: Evaluation | None
    dialogues: int
    alarms: list[AlarmRecord]


def write_report(paths: Sequence[str | os.PathLike], out: str | os.PathLike | None = None, *, title: str | None = None,
                 comparisons: Sequence[Comparison] = (), dialogue_limit: int = 4_000,
                 same_program: SameProgram = same_text, arrangement: str | None = None, rate: float | None = None) -> Path:
    """Writes the page and returns its path.

    paths: run directories, in the order of a chain.
    arrangement: `chain` shows curves one after the other, `overlay` those of the same metric in one panel; None chooses by the configs
        (`arrangement_of`).
    out: the HTML file; default RUN/report.html for one run, report.html beside the runs for several.
    dialogue_limit: at most how many dialogues the page carries, divided evenly over the runs that have some.
    rate: what an hour of one device costs; None writes no costs.

    Raises FileNotFoundError for a path that is no run directory, ValueError for damaged files or an unwritable place.
    """
    if dialogue_limit < 0:
        raise ValueError(f'a page cannot carry {dialogue_limit} dialogues; give a number from 0')
    if not paths:
        raise ValueError('there is no run to report on; give at least one run directory')
    if arrangement not in (None, *ARRANGEMENTS):
        raise ValueError(f'an arrangement is {" or ".join(ARRANGEMENTS)}, not {arrangement!r}')
    runs = [RunDirectory.existing(path) for path in paths]
    out = Path(out) if out is not None else _default_place(runs)
    metrics = [run.read_metrics() for run in runs]
    share = dialogue_limit // max(1, sum(bool(run.rollout_steps()) for run in runs))
    picked = [pick_dialogues(run, share) for run in runs]
    names = names_of([run.path for run in runs])
    stages = [_stage(run, name, rows, total) for run, name, rows, (_, total) in zip(runs, names, metrics, picked)]
    members = [Member(run.path, stage.config) for run, stage in zip(runs, stages)]
    overlay = (arrangement or arrangement_of(members)) == 'overlay'
    groups = groups_of(members) if overlay else []
    sources = [Source(name, run.renders, records) for name, run, (records, _) in zip(names, runs, picked)]
    evaluated = [stage.evaluation for stage in stages if stage.evaluation is not None]
    page = environment().get_template('report.html').render(
        title=title or (' · '.join(group.label for group in groups) if overlay else ' → '.join(names)), stages=stages, comparisons=comparisons,
        config=_config_table(stages), results=[stage for stage in stages if stage.evaluation is not None],
        result_turns=max((len(evaluation.turns) for evaluation in evaluated), default=0),
        kinds=_kind_table([stage for stage in stages if stage.evaluation is not None]),
        seconds=_total(stage.seconds for stage in stages), duration=duration, points=points,
        pictures=[(stage.name, picture) for stage, run in zip(stages, runs) if (picture := last_picture(run))],
        spendings=[(stage.name, spending) for stage, rows in zip(stages, metrics) if (spending := spending_of(rows))],
        rate=rate, costs=_costs(names, metrics, rate), money=money,
        shown=sum(len(records) for records, _ in picked), total=sum(total for _, total in picked),
        alarms=[row for stage in stages for row in alarm_rows(stage.name, stage.alarms)],
        overlay=overlay, chosen=arrangement is not None, groups=groups,
        group_data=[{'label': group.label, 'runs': group.runs} for group in groups], differing=differences(members, groups),
        curves=encode_numbers(_curves(stages, metrics, groups)),
        data=dialogue_data(sources, out, same_program))
    write_page(out, page)
    return out


def _curves(stages: Sequence[Stage], metrics: Sequence[Sequence[Mapping]], groups: Sequence[Group]) -> list[dict]:
    """Curves of every run, with the marks of its alarms; side by side all runs are averaged over the same steps."""
    longest = max(map(len, metrics))
    curves = []
    for stage, rows in zip(stages, metrics):
        turns = max((int(name[4:-6]) for row in rows[-1:] for name in row if name.startswith('turn') and name.endswith('/total')), default=0)
        marks = [{'step': alarm.step, 'sentence': f'{alarm.alarm}: {alarm.sentence}', 'metrics': metrics_of(alarm.alarm, turns)} for alarm in stage.alarms]
        curves.append({'name': stage.name, 'marks': marks, **curve_data(rows, longest if groups else len(rows))})
    return curves


def _costs(names: Sequence[str], metrics: Sequence[Sequence[Mapping]], rate: float | None) -> list[tuple[str, Cost]]:
    """Rows (run, cost), with a last one of all where there are several runs; none without a rate."""
    rows = [] if rate is None else [(name, cost_of(each, rate)) for name, each in zip(names, metrics)]
    return rows if len(rows) < 2 else [*rows, ('all', sum((cost for _, cost in rows), Cost(0, 0.0, 0.0, 0.0)))]


def alarm_rows(run: str, alarms: Sequence[AlarmRecord]) -> list[AlarmRow]:
    """The alarms of a run by name, in order of their first step."""
    found: dict[str, list[AlarmRecord]] = {}
    for alarm in alarms:
        found.setdefault(alarm.alarm, []).append(alarm)
    return [AlarmRow(run, name, len(each), each[0].step, each[-1].step, each[-1].sentence, any(alarm.stopped for alarm in each))
            for name, each in found.items()]


def _default_place(runs: Sequence[RunDirectory]) -> Path:
    if len(runs) == 1:
        return runs[0].path / 'report.html'
    return Path(os.path.commonpath([run.path.resolve().parent for run in runs])) / 'report.html'


def _stage(run: RunDirectory, name: str, metrics: Sequence[Mapping], dialogues: int) -> Stage:
    config = run.read_config() if (run.path / 'config.json').exists() else {}
    versions = config.get('versions')
    flat = flatten({key: value for key, value in config.items() if key != 'versions'})
    return Stage(name=name, steps=len(metrics), seconds=_total(row.get('time/step') for row in metrics),
                 seeds={key: value for key, value in flat.items() if is_seed(key)},
                 versions=versions if isinstance(versions, dict) else {}, config=flat,
                 evaluation=run.read_evaluation(), dialogues=dialogues, alarms=run.read_alarms())


def _total(values) -> float | None:
    finite = [value for value in values if value is not None and math.isfinite(value)]
    return sum(finite) if finite else None


def _config_table(stages: Sequence[Stage]) -> list[tuple[str, list[str], bool]]:
    """Rows (key, value per stage, whether the stages differ), those that differ first."""
    keys = sorted({key for stage in stages for key in stage.config})
    rows = [(key, [str(stage.config.get(key, '')) for stage in stages]) for key in keys]
    table = [(key, values, len(set(values)) > 1) for key, values in rows]
    return sorted(table, key=lambda row: not row[2])


def _kind_table(stages: Sequence[Stage]) -> list[tuple[str, int, list[float | None]]]:
    """Rows (kind, charts, low-level of the last turn per stage in points); empty when there is one kind only."""
    per_stage = []
    for stage in stages:
        scores: dict[str, list[float]] = {}
        for result in stage.evaluation.results:
            scores.setdefault(result.kind or 'other', []).append(result.low_level[-1])
        per_stage.append(scores)
    kinds = sorted({kind for scores in per_stage for kind in scores})
    if len(kinds) < 2:
        return []
    return [(kind, max(len(scores.get(kind, ())) for scores in per_stage),
             [100 * sum(scores[kind]) / len(scores[kind]) if kind in scores else None for scores in per_stage])
            for kind in kinds]


def curve_data(metrics: Sequence[Mapping], longest: int | None = None) -> dict:
    """Columns of metrics.jsonl for the page: steps [N] and name -> values [N], None where a step lacks the metric.

    Long runs are averaged in buckets of equal size, so that the page stays small; values that are not finite are
    left out of the curves and counted in `lost`. longest: steps of the longest run that shares its buckets, this one by default.
    """
    names = sorted({name for row in metrics for name in row if name != 'step'})
    size = max(1, math.ceil((longest or len(metrics)) / _POINTS))
    buckets = [metrics[start:start + size] for start in range(0, len(metrics), size)]
    lost = {name: sum(1 for row in metrics if not math.isfinite(row.get(name, 0.0))) for name in names}
    return {'steps': [bucket[-1]['step'] for bucket in buckets],
            'values': {name: [_mean([row[name] for row in bucket if name in row]) for bucket in buckets] for name in names},
            'lost': {name: count for name, count in lost.items() if count}}


def _mean(values: Sequence[float]) -> float | None:
    finite = [value for value in values if math.isfinite(value)]
    return float(f'{sum(finite) / len(finite):.6g}') if finite else None


def duration(seconds: float | None) -> str:
    """'2 h 05 min', '3 min 20 s', '8.1 s'; a dash for None."""
    if seconds is None:
        return '–'
    if seconds < 60:
        return f'{seconds:.1f} s'
    whole = round(seconds)
    if whole < 3600:
        return f'{whole // 60} min {whole % 60:02d} s'
    return f'{whole // 3600} h {whole % 3600 // 60:02d} min'


def points(value: float | None, signed: bool = False) -> str:
    """A score in points with one decimal; a dash for None."""
    return '–' if value is None else format(value, '+.1f' if signed else '.1f')
