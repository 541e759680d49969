"""The run directory: everything a run leaves on disk, written so that a kill at any moment loses nothing that counts.

    RUN/config.json               the whole config
    RUN/metrics.jsonl             {"step": 3, "loss/total": 0.25, ...}, one object a step
    RUN/alarms.jsonl              {"step": 3, "alarm": "gap", "sentence": "...", "stopped": false}, one object an alarm that began
    RUN/rollouts/step_000003.jsonl   the dialogues of step 3, one object a line
    RUN/timelines/step_000003.json   when device and host worked in step 3: intervals in seconds by what was done
    RUN/renders/<hash16>.png      every image once, named by its pixels
    RUN/faults/step_000003.npz    the batch of a step that was not finite, and its charts in step_000003.json
    RUN/evaluation.json           the last evaluation; RUN/blocks/ holds parts of one that is under way
    RUN/checkpoints/, RUN/report.html   written by others

Files are replaced atomically, metrics.jsonl and alarms.jsonl grow by whole lines. After a resume from step s, `rewind(s)` takes back
what was written after s, so the finished run has the same bytes as one that never stopped. Only alarms that ended the run stay,
or they would end it again. One process writes.
"""

from collections.abc import Callable, Iterator, Sequence
import hashlib
import io
import json
import os
from pathlib import Path
import re
import shutil
import threading

import numpy as np
from PIL import Image

from recoder_jax.runs.records import AlarmRecord, DialogueRecord, Evaluation, decode_number, encode_numbers


class RunDirectory:
    """Writes and reads one run directory; creates it when it is missing.

    Raises ValueError when the path cannot be a writable directory.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)
        try:
            for directory in (self.path, self.renders, self.rollouts, self.timelines):
                directory.mkdir(parents=True, exist_ok=True)
        except FileExistsError as error:
            raise ValueError(f'{error.filename} is a file, not a directory; choose another run directory') from error
        except OSError as error:
            raise ValueError(f'the run directory {self.path} cannot be created ({error.strerror}); '
                             'choose a directory you may write to') from error
        if not os.access(self.path, os.W_OK | os.X_OK):
            raise ValueError(f'the run directory {self.path} is not writable; choose a directory you may write to')
        self._last_step: int | None = None      # last step in metrics.jsonl, None before it was looked up

    @classmethod
    def existing(cls, path: str | os.PathLike) -> 'RunDirectory':
        """A run that is only read. Raises FileNotFoundError when the path does not look like a run directory."""
        path = Path(path)
        if not path.is_dir():
            raise FileNotFoundError(f'there is no run directory {path}; give the --workdir of a run')
        marks = ('config.json', 'metrics.jsonl', 'evaluation.json', 'rollouts')
        if not any((path / mark).exists() for mark in marks):
            raise FileNotFoundError(f'{path} is not a run directory: none of {", ".join(marks)} is in it; '
                                    'give the --workdir of a run')
        run = cls.__new__(cls)
        run.path = path
        run._last_step = None
        return run

    @property
    def name(self) -> str:
        return self.path.resolve().name

    @property
    def renders(self) -> Path:
        return self.path / 'renders'

    @property
    def rollouts(self) -> Path:
        return self.path / 'rollouts'

    # ------------------------------------------------------------------ config and evaluation

    def write_config(self, config: dict) -> None:
        """Raises ValueError when the config holds something JSON cannot carry."""
        _write_atomically(self.path / 'config.json', _json_document(config, 'the config'))

    def read_config(self) -> dict:
        """Raises FileNotFoundError when the run has no config."""
        return _read_document(self.path / 'config.json')

    def write_evaluation(self, evaluation: Evaluation) -> None:
        _write_atomically(self.path / 'evaluation.json', _json_document(evaluation.to_json(), 'the evaluation'))

    def read_evaluation(self) -> Evaluation | None:
        """None when the run was not evaluated."""
        path = self.path / 'evaluation.json'
        return Evaluation.from_json(_read_document(path)) if path.exists() else None

    def write_block(self, number: int, block: dict) -> None:
        """A part of an evaluation that is under way."""
        (self.path / 'blocks').mkdir(exist_ok=True)
        _write_atomically(self.path / 'blocks' / f'{number:04d}.json', _json_document(block, 'a block of an evaluation'))

    def read_block(self, number: int) -> dict | None:
        """None when it is not there or damaged."""
        try:
            return _read_document(self.path / 'blocks' / f'{number:04d}.json')
        except (OSError, ValueError):
            return None

    def remove_blocks(self) -> None:
        shutil.rmtree(self.path / 'blocks', ignore_errors=True)

    # ------------------------------------------------------------------ metrics

    def write_metrics(self, step: int, metrics: dict[str, float]) -> None:
        """Appends one line and hands it to the operating system.

        Raises ValueError when a value is no number, or when the step is not later than the last one written.
        """
        if self._last_step is None:
            self._cut_metrics(after=None)
        if step <= self._last_step:
            raise ValueError(f'step {step} comes after step {self._last_step} in {self.path}/metrics.jsonl; '
                             f'call rewind({step - 1}) before writing it again')
        line = {'step': int(step)}
        for name, value in metrics.items():
            line[name] = encode_numbers(_as_float(name, value))
        with open(self.path / 'metrics.jsonl', 'ab') as file:
            file.write(json.dumps(line).encode() + b'\n')
        self._last_step = int(step)

    def read_metrics(self) -> list[dict]:
        """All steps, each {'step': int, name: float}; a torn last line is left out. Raises ValueError on other damage."""
        rows = []
        for _, row in _lines(self.path / 'metrics.jsonl'):
            rows.append({name: value if name == 'step' else decode_number(value) for name, value in row.items()})
        return rows

    def _cut_metrics(self, after: int | None) -> None:
        """Drops a torn last line and, unless `after` is None, all lines of later steps."""
        kept = _keep_lines(self.path / 'metrics.jsonl', lambda row: after is None or row['step'] <= after)
        self._last_step = kept[-1]['step'] if kept else -1

    # ------------------------------------------------------------------ alarms

    def write_alarms(self, alarms: Sequence[AlarmRecord]) -> None:
        """Appends the alarms of a step; one that ended the run and stands already is not written again."""
        standing = {(alarm.step, alarm.alarm) for alarm in self.read_alarms() if alarm.stopped} if alarms else set()
        lines = [json.dumps(alarm.to_json()).encode() + b'\n' for alarm in alarms if (alarm.step, alarm.alarm) not in standing]
        if lines:
            with open(self.path / 'alarms.jsonl', 'ab') as file:
                file.write(b''.join(lines))

    def read_alarms(self) -> list[AlarmRecord]:
        """All alarms in order of their steps; a torn last line is left out. Raises ValueError on other damage."""
        path = self.path / 'alarms.jsonl'
        try:
            return sorted((AlarmRecord.from_json(row) for _, row in _lines(path)), key=lambda alarm: alarm.step)
        except ValueError as error:
            raise ValueError(f'{path}: {error}') from error

    # ------------------------------------------------------------------ dialogues and renders

    def store_render(self, image: np.ndarray) -> str:
        """Stores uint8 [H, W, 3] pixels once and returns the file name inside `renders/`."""
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(f'a render must be uint8 [H, W, 3], not {image.dtype} {list(image.shape)}')
        digest = hashlib.sha256(repr(image.shape).encode() + image.tobytes()).hexdigest()[:16]
        path = self.renders / f'{digest}.png'
        if not path.exists():
            buffer = io.BytesIO()
            Image.fromarray(image).save(buffer, format='PNG', compress_level=6)
            _write_atomically(path, buffer.getvalue())
        return path.name

    @property
    def timelines(self) -> Path:
        return self.path / 'timelines'

    def write_timeline(self, step: int, tracks: dict[str, list[tuple[float, float]]]) -> None:
        """Writes the intervals of a step, replacing what was there: (begin, end) in seconds from the step's beginning."""
        rounded = {name: [[round(begin, 4), round(end, 4)] for begin, end in track] for name, track in tracks.items()}
        _write_atomically(self.timelines / f'step_{step:06d}.json', json.dumps(rounded).encode())

    def read_timeline(self, step: int) -> dict[str, list[tuple[float, float]]]:
        """Raises FileNotFoundError when the step left none, ValueError when its file is damaged."""
        path = self.timelines / f'step_{step:06d}.json'
        try:
            return {str(name): [(float(begin), float(end)) for begin, end in track] for name, track in json.loads(path.read_bytes()).items()}
        except (ValueError, TypeError, AttributeError) as error:
            raise ValueError(f'{path} is damaged ({error}); remove it') from error

    def timeline_steps(self) -> list[int]:
        """Steps that left a timeline, ascending."""
        return _steps_in(self.timelines, 'json')

    def write_rollouts(self, step: int, records: Sequence[DialogueRecord]) -> None:
        """Writes the dialogues of one step, replacing what was there."""
        lines = [json.dumps(record.to_json()).encode() + b'\n' for record in records]
        _write_atomically(self._rollout_path(step), b''.join(lines))

    def read_rollouts(self, step: int) -> list[DialogueRecord]:
        """Raises FileNotFoundError when the step left no dialogues, ValueError when its file is damaged."""
        path = self._rollout_path(step)
        if not path.exists():
            raise FileNotFoundError(f'{self.path} holds no dialogues of step {step}; it has steps {self.rollout_steps()}')
        records = []
        for number, line in enumerate(path.read_bytes().splitlines(), start=1):
            try:
                records.append(DialogueRecord.from_json(json.loads(line)))
            except ValueError as error:
                raise ValueError(f'line {number} of {path} is damaged ({error}); remove the file') from error
        return records

    def rollout_steps(self) -> list[int]:
        """Steps that left dialogues, ascending."""
        return _steps_in(self.rollouts, 'jsonl')

    def _rollout_path(self, step: int) -> Path:
        return self.rollouts / f'step_{step:06d}.jsonl'

    def write_fault(self, step: int, arrays: dict[str, np.ndarray], facts: dict, process: int = 0) -> Path:
        """Keeps the batch of a step that went wrong and facts about it beside it, replacing what was there; returns the batch's path.
        A resume leaves them. process: of several, each keeps its own."""
        folder, name = self.path / 'faults', f'step_{step:06d}' + (f'_process_{process}' if process else '')
        folder.mkdir(exist_ok=True)
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
        _write_atomically(folder / f'{name}.npz', buffer.getvalue())
        _write_atomically(folder / f'{name}.json', _json_document(facts, 'what is known of a fault'))
        return folder / f'{name}.npz'

    # ------------------------------------------------------------------ resume

    def rewind(self, step: int) -> None:
        """Takes back what was written after `step`, and what a kill left half-written.

        Renders stay: they are named by content, and the repeated steps store the same ones. Alarms that ended the run stay.
        """
        self._cut_metrics(after=step)
        _keep_lines(self.path / 'alarms.jsonl', lambda row: row['step'] <= step or row.get('stopped') is True)
        for later in self.rollout_steps():
            if later > step:
                self._rollout_path(later).unlink()
        for later in self.timeline_steps():
            if later > step:
                (self.timelines / f'step_{later:06d}.json').unlink()
        for directory in (self.path, self.rollouts, self.renders, self.timelines):
            for leftover in directory.glob('.*.tmp'):
                leftover.unlink()


def _steps_in(directory: Path, ending: str) -> list[int]:
    """Steps of files step_N.ending, ascending."""
    names = (re.fullmatch(rf'step_(\d+)\.{ending}', path.name) for path in directory.glob(f'step_*.{ending}'))
    return sorted(int(name[1]) for name in names if name)


def _lines(path: Path) -> Iterator[tuple[bytes, dict]]:
    """Lines of a file of JSON objects with a step, without a torn last one. Raises ValueError on other damage."""
    content = path.read_bytes() if path.exists() else b''
    lines = content.split(b'\n')
    lines.pop()       # what follows the last newline: empty, or torn
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
            if not isinstance(row['step'], int):
                raise TypeError
        except (ValueError, KeyError, TypeError):
            if number == len(lines):
                return
            raise ValueError(f'line {number} of {path} is damaged; remove it or start the run again') from None
        yield line, row


def _keep_lines(path: Path, keep: Callable[[dict], bool]) -> list[dict]:
    """Drops a torn last line and all objects but those to keep, which are returned."""
    kept = [(line, row) for line, row in _lines(path) if keep(row)]
    content = b''.join(line + b'\n' for line, _ in kept)
    if path.exists() and path.read_bytes() != content:
        _write_atomically(path, content)
    return [row for _, row in kept]


def _as_float(name: str, value) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ValueError(f'metric {name} is {value!r}, not a number; write numbers only') from None


def _json_document(value: dict, what: str) -> bytes:
    try:
        return json.dumps(encode_numbers(value), indent=1, sort_keys=True, allow_nan=False).encode() + b'\n'
    except TypeError as error:
        raise ValueError(f'{what} cannot be written as JSON ({error}); keep to numbers, strings, lists and dicts') from error


def _read_document(path: Path) -> dict:
    if not path.exists():
        raise FileNotFoundError(f'there is no {path}; give the directory of a run that was started')
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f'{path} is damaged ({error}); write it again') from error


def _write_atomically(path: Path, content: bytes) -> None:
    """A reader sees the old file or the new one; threads may store the same render at the same time."""
    temporary = path.parent / f'.{path.name}.{os.getpid()}.{threading.get_ident()}.tmp'
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise ValueError(f'{path} cannot be written ({error.strerror}); '
                         'free space on the disk or choose a directory you may write to') from error
