"""Builds one data set so that a half-built one is never taken for a whole one.

    OUT/.building/NAME.CONFIG/...        while it is built (locked; removed when it fails, and by the next attempt)
    OUT/NAME/CONFIG/VERSION/             appears by one rename: ArrayRecord files, request.json, README.md (the card), extra files

request.json holds the arguments, so that asking for the same set again ends at once and asking for another one of the same name
and configuration is refused.
"""

import contextlib
import fcntl
import hashlib
import importlib.metadata
import io
import json
import logging
import os
import shutil
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from recoder_jax.charts.execution import Execution
from recoder_jax.charts.sandbox import Sandbox
from recoder_jax.data.builders import RecordBuilder, Records

REQUEST_FILE, CARD_FILE, BUILDING = 'request.json', 'README.md', '.building'
PACKAGES = ('matplotlib', 'numpy', 'Pillow', 'tensorflow-datasets', 'array_record')
T = TypeVar('T')


@dataclass(frozen=True)
class Request:
    """Which set is asked for. arguments: what its content depends on (JSON values). form: 'charts' or 'corrections'.
    language: of the programs, which those who read the set ask for. extras: fields of a chart that are stored too (builders.EXTRAS)."""

    name: str
    config: str
    form: str
    arguments: Mapping[str, object]
    description: str
    licence: str
    origin: str
    language: str = 'python'
    extras: tuple[str, ...] = ()


@dataclass
class Tally:
    """What happened while records were made: kept per split, drops by reason, one line about each drop, and repairs by kind."""

    kept: Counter = field(default_factory=Counter)
    drops: Counter = field(default_factory=Counter)
    dropped: list[str] = field(default_factory=list)
    repairs: Counter = field(default_factory=Counter)

    def repair(self, what: str) -> None:
        self.repairs[what] += 1

    def drop(self, reason: str, what: str) -> None:
        self.drops[reason] += 1
        self.dropped.append(f'{what}: {reason}')


@dataclass(frozen=True)
class Built:
    """A set that stands on disk: its directory, whether it was there before, its counts per split and drops by reason."""

    directory: Path
    stood_already: bool
    counts: Mapping[str, int]
    drops: Mapping[str, int]


def set_directory(out: Path, request: Request) -> Path:
    """Where the whole set stands."""
    return Path(out) / request.name / request.config / str(RecordBuilder.VERSION)


def build(
    request: Request, splits: Mapping[str, Records], tally: Tally, out: str | Path, extra_files: Mapping[str, str] | None = None
) -> Built:
    """Builds the set, or returns the one that stands with the same arguments.

    splits: split name -> function that starts its record iterator; it counts drops in `tally`. extra_files: name -> text, put beside
    the card. Raises ValueError when another set stands under this name, when a split ends empty, or when another process is building
    the same set; OSError when `out` cannot be written.
    """
    out = Path(out)
    standing = find_standing(request, out)
    if standing:
        return standing
    with _stage(out, request) as stage:
        _write_records(request, splits, tally, stage)
        built = set_directory(stage, request)
        for name, text in (extra_files or {}).items():
            (built / name).write_text(text, encoding='utf-8')
        (built / CARD_FILE).write_text(card(request, tally), encoding='utf-8')
        (built / REQUEST_FILE).write_text(_request_text(request, tally, built), encoding='utf-8')
        target = set_directory(out, request)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.rename(built, target)
    return Built(target, False, dict(tally.kept), dict(tally.drops))


def find_standing(request: Request, out: str | Path) -> Built | None:
    """The set that stands with the arguments of `request`, or None. Raises ValueError when a different one stands there."""
    directory = set_directory(Path(out), request)
    if not directory.exists():
        return None
    try:
        found = json.loads((directory / REQUEST_FILE).read_text(encoding='utf-8'))
    except (OSError, ValueError):
        raise ValueError(f'{str(directory)!r} is there but is not a finished data set; move it away') from None
    if found['arguments'] != dict(request.arguments):
        raise ValueError(
            f'{str(directory)!r} holds a set made with {json.dumps(found["arguments"])}, not {json.dumps(dict(request.arguments))}; '
            'choose another --out or remove it'
        )
    return Built(directory, True, found['counts'], found['drops'])


def in_order(
    sandbox: Sandbox, items: Iterable[T], programs: Callable[[T], tuple[str, ...]], ahead: int
) -> Iterator[tuple[T, tuple[Execution, ...]]]:
    """(item, executions of its programs) in the order of `items`, with at most `ahead` items submitted before their turn."""
    waiting = deque()
    for item in items:
        waiting.append((item, tuple(sandbox.submit(program) for program in programs(item))))
        if len(waiting) >= ahead:
            first, futures = waiting.popleft()
            yield first, tuple(future.result() for future in futures)
    for first, futures in waiting:
        yield first, tuple(future.result() for future in futures)


def failure_reason(execution: Execution) -> str:
    """Why a program gave no render: the status, and the name of the exception when it raised one, as in 'error: KeyError'."""
    last = execution.log.strip().rsplit('\n', 1)[-1]
    error = last.partition(':')[0].strip().rpartition('.')[2]
    return f'{execution.status.value}: {error}' if error.isidentifier() and execution.status.value == 'error' else execution.status.value


def card(request: Request, tally: Tally) -> str:
    """The data card in Markdown: what, licence, origin, arguments, counts, drops by reason."""
    lines = [f'# {request.name} ({request.config})', '', request.description, '']
    lines += [f'- Licence: {request.licence}', f'- Origin: {request.origin}', f'- Records: {request.form}']
    lines += [f'- {key}: {value}' for key, value in request.arguments.items()]
    lines += ['', '| split | charts |', '|---|---|'] + [f'| {split} | {count} |' for split, count in tally.kept.items()]
    lines += ['', '| dropped because | charts |', '|---|---|'] + [f'| {why} | {count} |' for why, count in tally.drops.most_common()]
    lines += ['| total | ' + str(sum(tally.drops.values())) + ' |']
    if tally.repairs:
        lines += ['', 'Repaired: ' + ', '.join(f'{what} {count}' for what, count in tally.repairs.most_common())]
    if tally.dropped:
        lines += ['', 'Dropped:', ''] + [f'- {line}' for line in tally.dropped]
    lines += ['', 'Built with ' + ', '.join(f'{name} {version}' for name, version in _versions().items()) + '.']
    return '\n'.join(lines) + '\n'


def _request_text(request: Request, tally: Tally, built: Path) -> str:
    content = {
        'name': request.name,
        'config': request.config,
        'form': request.form,
        'language': request.language,
        'arguments': dict(request.arguments),
        'counts': dict(tally.kept),
        'drops': dict(tally.drops),
        'packages': _versions(),
        'sha256': {file.name: _sha256(file) for file in sorted(built.iterdir())},
    }
    return json.dumps(content, indent=1) + '\n'


def _versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in PACKAGES}


def _sha256(file: Path) -> str:
    with file.open('rb') as stream:
        return hashlib.file_digest(stream, 'sha256').hexdigest()


def _write_records(request: Request, splits: Mapping[str, Records], tally: Tally, stage: Path) -> None:
    failures: list[Exception] = []
    counted = {split: _counting(request.name, split, records, tally, failures) for split, records in splits.items()}
    try:
        with _quiet_tfds():
            RecordBuilder(request.name, request.config, request.form, counted, request.description, stage, request.extras).download_and_prepare()
    except Exception:
        # the builder adds lines of its own to what the records raised
        raise failures[0] if failures else sys.exception() from None


@contextlib.contextmanager
def _quiet_tfds() -> Iterator[None]:
    """Keeps back TFDS's lines about downloads and registered configurations, neither of which exist here."""
    logger = logging.getLogger('absl')
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)


def _counting(name: str, split: str, records: Records, tally: Tally, failures: list[Exception]) -> Records:
    """The same records, counted; what they raise goes to `failures` too. A split without records is an error."""

    def counted():
        try:
            for record in records():
                tally.kept[split] += 1
                yield record
            if not tally.kept[split]:
                reasons = ', '.join(f'{reason} ({count})' for reason, count in tally.drops.most_common(3)) or 'the source gave none'
                raise ValueError(f'no chart of split {split!r} of {name} could be kept: {reasons}; nothing was written')
        except Exception as error:
            failures.append(error)
            raise

    return counted


@contextlib.contextmanager
def _stage(out: Path, request: Request) -> Iterator[Path]:
    """An empty directory for the set, locked against a second process, removed at the end."""
    building = out / BUILDING
    try:
        building.mkdir(parents=True, exist_ok=True)
        lock = (building / f'{request.name}.{request.config}.lock').open('w')
    except OSError as error:
        raise OSError(f'{str(out)!r} cannot be written ({error.strerror}); choose another --out') from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f'another process is building {request.name} ({request.config}) in {str(out)!r}; wait for it') from None
        stage = building / f'{request.name}.{request.config}'
        shutil.rmtree(stage, ignore_errors=True)
        stage.mkdir()
        try:
            yield stage
        finally:
            shutil.rmtree(stage, ignore_errors=True)
