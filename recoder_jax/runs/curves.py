"""Curves of several runs: seeds of one recipe as one, each stage behind the one it starts from. Pure of drawing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
import math
import os
from pathlib import Path

import numpy as np
from scipy.stats import t as student

from recoder_jax.runs.arrangement import Group, Member, flatten, groups_of
from recoder_jax.runs.directory import RunDirectory
from recoder_jax.runs.records import AlarmRecord


@dataclass(frozen=True)
class Run:
    """What the notebooks read of a run. config: flat. metrics: rows of metrics.jsonl."""

    directory: RunDirectory
    config: Mapping[str, object]
    metrics: Sequence[Mapping[str, float]]
    alarms: Sequence[AlarmRecord]

    @property
    def label(self) -> str:
        return str(self.config.get('name') or self.directory.name)


@dataclass(frozen=True)
class Curve:
    """A metric of one group over updates.

    Attributes:
      label: of the group.
      offset: updates of the stages before, in which the metric was measured too.
      steps: [N].
      seeds: [S, N], nan where a run lacks the step; smoothed where asked.
      mean, low, high: [N], over seeds; with one seed low and high are nan.
      alarms: steps of the alarms of all seeds.
    """

    label: str
    offset: int
    steps: np.ndarray
    seeds: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    alarms: tuple[int, ...]


def read_runs(paths: Sequence[str | os.PathLike]) -> list[Run]:
    """Raises FileNotFoundError for a path that is no run directory, ValueError for none at all or for damaged files."""
    if not paths:
        raise ValueError('there is no run to look at; name at least one run directory in RUNS')
    directories = [RunDirectory.existing(path) for path in paths]
    return [Run(run, flatten(run.read_config()) if (run.path / 'config.json').exists() else {}, run.read_metrics(), run.read_alarms())
            for run in directories]


def groups(runs: Sequence[Run]) -> list[Group]:
    """Runs that are one but for their seeds together, called by the name of their configs where they share one that no other group has."""
    found = groups_of([Member(run.directory.path, _placed(run)) for run in runs])
    names = [{runs[place].label for place in group.runs} for group in found]
    return [Group(*each, group.runs, group.seeds) if len(each) == 1 and names.count(each) == 1 else group for each, group in zip(names, found, strict=True)]


def measured(runs: Sequence[Run], names: Sequence[str]) -> list[str]:
    """Those of the metrics that some run has, in their order."""
    had = {name for run in runs for row in run.metrics for name in row}
    return [name for name in names if name in had]


def curves_of(runs: Sequence[Run], metric: str, window: int = 1) -> list[Curve]:
    """One curve a group that has the metric. window: updates that a value is the mean of, the last ones."""
    found = groups(runs)
    places = {run.directory.path.resolve(): number for number, run in enumerate(runs)}
    own = {place: group for group in found for place in group.runs}
    curves = []
    for group in found:
        rows = [[(row['step'], row[metric]) for row in runs[place].metrics if metric in row] for place in group.runs]
        if not any(rows):
            continue
        steps = np.array(sorted({step for each in rows for step, _ in each}))
        seeds = np.stack([_smooth(_on(steps, each), window) for each in rows])
        curves.append(Curve(group.label, _offset(runs, own, places, group, metric), steps, seeds, *interval(seeds),
                            tuple(alarm.step for place in group.runs for alarm in runs[place].alarms)))
    return curves


def interval(seeds: np.ndarray, level: float = 0.95) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean and Student's t interval over seeds [S, N]; the interval is nan where fewer than two seeds have a value."""
    known = ~np.isnan(seeds)
    count = known.sum(axis=0)
    mean = np.where(known, seeds, 0).sum(axis=0) / np.where(count, count, np.nan)
    squares = np.where(known, seeds - mean, 0) ** 2
    free = np.where(count > 1, count - 1, np.nan)
    half = student.ppf((1 + level) / 2, free) * np.sqrt(squares.sum(axis=0) / free / np.where(count, count, np.nan))
    return mean, mean - half, mean + half


def _on(steps: np.ndarray, rows: Sequence[tuple[int, float]]) -> np.ndarray:
    known = dict(rows)
    values = np.array([known.get(step, math.nan) for step in steps.tolist()], float)
    return np.where(np.isfinite(values), values, np.nan)


def _smooth(values: np.ndarray, window: int) -> np.ndarray:
    """Means of the last `window` values that are known, [N]."""
    if window < 1:
        raise ValueError(f'a window of {window} updates has no mean; give at least 1')
    known = ~np.isnan(values)
    total, count = np.cumsum(np.where(known, values, 0)), np.cumsum(known)
    total, count = (each - np.concatenate([np.zeros(min(window, len(each))), each[:-window]]) for each in (total, count))
    return np.where(known, total / np.maximum(count, 1), np.nan)


def _placed(run: Run) -> Mapping[str, object]:
    """The config, with the place where the run it starts from lies now: seeds that start from seeds of one recipe are then known as one."""
    start = _start(run)
    return run.config if start is None else {**run.config, 'init': str(start)}


def _start(run: Run) -> Path | None:
    """The run that a run starts from, by its path, or by its name beside the run where both were moved; None where there is no such directory."""
    init = Path(str(run.config.get('init') or '').partition('@')[0])
    beside = run.directory.path.resolve().parent / init.name
    return next((path.resolve() for path in (init, beside) if init.name and path.is_dir()), None)


def _offset(runs: Sequence[Run], own: Mapping[int, Group], places: Mapping[Path | None, int], group: Group, metric: str) -> int:
    """Updates with the metric of what a group starts from, one after the other: groups, and the parts of a run as launch/study.sh leaves them."""
    offset, run = 0, runs[group.runs[0]]
    met = {group.runs, run.directory.path.resolve()}
    while (start := _start(run)) is not None and start not in met:
        met.add(start)
        if start in places:
            group = own[places[start]]
            if group.runs in met:
                break
            met.add(group.runs)
            before = [runs[member] for member in group.runs]
        elif start.name.startswith(f'{run.directory.name.partition("_part")[0]}_part'):
            before = read_runs([start])
        else:
            break
        offset += max((row['step'] for each in before for row in each.metrics if metric in row), default=0)
        run = before[0]
    return offset
