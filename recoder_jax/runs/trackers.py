"""Metrics to TensorBoard and to Weights & Biases, beside metrics.jsonl, which is always written.

    RUN/tensorboard/events.out.tfevents.*    one file a start of the run; TensorBoard hides what a later start takes back
    RUN/wandb.json                           {"id": ..., "step": ...}: the run's name at W&B, and the last step handed over

A resumed run writes no step twice. The packages are optional; `check_installed` says what to install.
"""

from collections.abc import Mapping, Sequence
import importlib
import importlib.util
import json
import os
from pathlib import Path
import time
from typing import Protocol, Self
import uuid

from recoder_jax.runs.directory import RunDirectory

_PACKAGES = {'tensorboard': 'log.tensorboard', 'wandb': 'log.wandb'}


class Tracker(Protocol):
    """Takes rows {'step': ..., name: value} in order."""

    def write(self, row: Mapping[str, float]) -> None: ...

    def close(self) -> None: ...


def check_installed(*, tensorboard: bool, wandb: str) -> None:
    """Raises ValueError with the command that installs what is asked for and missing."""
    for package, wanted in (('tensorboard', tensorboard), ('wandb', wandb)):
        spec = importlib.util.find_spec(package) if wanted else None
        if wanted and (spec is None or spec.origin is None):      # a directory of that name is no package
            raise ValueError(f'{_PACKAGES[package]} is {wanted!r} but the package {package} is not installed; '
                             f'run pip install -e .[{package}], or clear {_PACKAGES[package]}')


class Trackers:
    """The trackers of a run, a context manager. config: of the run, flat or nested, shown at W&B.

    The run is rewound already: what stands in metrics.jsonl are the steps before the next one.
    """

    def __init__(self, run: RunDirectory, *, tensorboard: bool, wandb: str, config: Mapping):
        self._trackers: list[Tracker] = []
        if tensorboard:
            self._trackers.append(TensorBoard(run.path / 'tensorboard', run.read_metrics()))
        if wandb:
            self._trackers.append(WeightsAndBiases(importlib.import_module('wandb'), wandb, run, config))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_) -> None:
        for tracker in self._trackers:
            tracker.close()

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        for tracker in self._trackers:
            tracker.write({'step': step, **metrics})


class TensorBoard:
    """An event file in the format of TensorBoard, flushed at every step.

    rows: the steps that stand. Where the directory holds events already, the new file begins by taking back later steps; where it holds
    none, it begins with those rows.
    """

    def __init__(self, directory: Path, rows: Sequence[Mapping[str, float]]):
        # here, for the package is optional; these modules load neither TensorFlow nor torch
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._event, self._summary = Event, Summary
        earlier = any(directory.glob('*tfevents*'))
        directory.mkdir(exist_ok=True)
        self._writer = RecordWriter(open(directory / f'events.out.tfevents.{time.time_ns()}.{os.getpid()}', 'xb'))
        self._put(file_version='brain.Event:2')
        if earlier:
            after = rows[-1]['step'] if rows else 0
            self._put(step=after + 1, session_log=SessionLog(status=SessionLog.START))
        else:
            for row in rows:
                self.write(row)
        self._writer.flush()

    def write(self, row: Mapping[str, float]) -> None:
        values = [self._summary.Value(tag=name, simple_value=value) for name, value in row.items() if name != 'step']
        self._put(step=int(row['step']), summary=self._summary(value=values))
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()

    def _put(self, **fields) -> None:
        self._writer.write(self._event(wall_time=time.time(), **fields).SerializeToString())


class WeightsAndBiases:
    """A run of a W&B project, gone on with under one id. Steps that W&B has, or offline those handed over earlier, are passed over.

    module: the package wandb. Raises ValueError where W&B refuses.
    """

    def __init__(self, module, project: str, run: RunDirectory, config: Mapping):
        self._note = run.path / 'wandb.json'
        try:
            noted = json.loads(self._note.read_bytes()) if self._note.exists() else {'id': uuid.uuid4().hex[:12], 'step': 0}
            self._id, handed = str(noted['id']), int(noted['step'])
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f'{self._note} is damaged; remove it to start another run at W&B') from error
        try:
            self._run = module.init(project=project, id=self._id, name=run.name, dir=str(run.path), config=dict(config), resume='allow',
                                    settings=module.Settings(console='off'))
        except module.Error as error:
            raise ValueError(f'log.wandb is {project!r} but W&B refuses ({error}); run wandb login, or set WANDB_MODE=offline') from error
        self._last = handed if self._run.offline else self._run.starting_step - 1
        self._keep(handed)

    def write(self, row: Mapping[str, float]) -> None:
        step = int(row['step'])
        if step <= self._last:
            return
        self._keep(step)
        self._run.log({name: value for name, value in row.items() if name != 'step'}, step=step)

    def close(self) -> None:
        self._run.finish()

    def _keep(self, step: int) -> None:
        temporary = self._note.with_name('.wandb.json.tmp')
        temporary.write_text(json.dumps({'id': self._id, 'step': step}) + '\n')
        os.replace(temporary, self._note)
