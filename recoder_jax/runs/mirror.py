"""A copy of a run directory on an object store: gs://, s3://, or whatever else fsspec reaches.

The run stays on a local or shared disk; a thread copies what is new after each step, and takes away what is gone. A machine that starts with an
empty run directory gets the copy first. So a run outlives the disk of a machine that is taken away, and a store that does not answer for a while
delays copies and no step.

Copied are all files but partial ones and signs of life. A checkpoint is copied when it is finished, with its mark of a finished write last, after
the metrics and dialogues of its steps; on the store one without the mark does not count.

    RUN/mirror.json    {"run": <random>}, in the copy too, so that no run is copied over another one
"""

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
import re
import sys
import threading
import time
from typing import Self
import uuid

import fsspec

NAME = 'mirror.json'
MARK = '_CHECKPOINT_METADATA'       # Orbax writes it when a checkpoint is committed
_UNIT = re.compile(r'checkpoints/\d+/|reference/')
_FINAL = re.compile(r'renders/|checkpoints/\d+/|reference/')       # files that never change once they are there
_LEFT_OUT = re.compile(r'\.(tmp|partial)$|\.orbax-checkpoint-tmp|^processes/|^checkpoints/damaged_')
_PACKAGES = {'gs': 'gcs', 'gcs': 'gcs', 's3': 's3', 's3a': 's3'}      # extras of setup.py by protocol
_LASTING = ('PermissionError', 'FileNotFoundError', 'NotImplementedError', 'NoCredentialsError')       # errors that asking again does not mend


@dataclass(frozen=True)
class Patience:
    """Seconds. first, longest: pauses after a failure, doubling from one to the other. start: the store may be away so long when a run begins.
    end: when it ends. between: from one copy to the next."""

    first: float = 1.0
    longest: float = 60.0
    start: float = 300.0
    end: float = 60.0
    between: float = 10.0


class Mirror:
    """Keeps the copy of the run directory `run` at `address`/<name of the run directory>. A context manager: entering it fetches the copy where
    the run directory holds no run, leaving it waits for the last copy, or says on stderr what is not copied.

    Entering raises ValueError when the store refuses, holds another run under this name, or does not answer for `patience.start` seconds.
    """

    def __init__(self, run: Path, address: str, patience: Patience = Patience(), say: Callable[[str], None] | None = None):
        self._run, self._patience = run, patience
        self._say = say or (lambda sentence: print(sentence, file=sys.stderr, flush=True))
        self.address = f'{address.rstrip("/")}/{run.resolve().name}'
        self._store, self._root = open_store(self.address)
        self._copied: dict[str, tuple[int, int] | int] = {}     # (size, time of change) of files copied; size alone of those found there
        self._new, self._ended, self._thread = threading.Event(), threading.Event(), None

    def __enter__(self) -> Self:
        deadline = time.monotonic() + self._patience.start
        self._persist(self._begin, deadline)
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._ended.set()
        self._new.set()
        self._thread.join()
        try:
            self._persist(self.copy, time.monotonic() + self._patience.end)
        except ValueError as error:
            self._say(f'{error}; what came last is in {self._run} alone, and the same command copies it')

    def wake(self) -> None:
        """There is something new to copy."""
        self._new.set()

    def copy(self) -> None:
        """Copy what is new and take away what is gone. Raises what the store raises; what was copied until then is not copied again."""
        local = dict(self._local())     # looked up at once: metrics and dialogues of the checkpoints in it stand already
        broken = set()
        for name in sorted(local, key=_turn):
            if self._same(name, local[name]) or (name.endswith(MARK) and _unit(name) in broken):
                continue
            try:
                self._store.put_file(str(self._run / name), f'{self._root}/{name}')
            except FileNotFoundError:
                if (self._run / name).exists():
                    raise
                broken.add(_unit(name) or name)     # an old checkpoint, deleted meanwhile
                continue
            self._copied[name] = local[name]
        for name in sorted(self._copied.keys() - local.keys(), key=lambda name: not name.endswith(MARK)):
            with contextlib.suppress(FileNotFoundError):
                self._store.rm_file(f'{self._root}/{name}')
            del self._copied[name]

    def fetch(self) -> int:
        """Bring the copy into the run directory; returns its files. Those that are there already in their size are not fetched again."""
        there = self._there()
        marked = {_unit(name) for name in there if name.endswith(MARK)}
        wanted = [name for name in there if not _unit(name) or _unit(name) in marked]
        for name in sorted(wanted, key=lambda name: (name == 'config.json', _turn(name))):
            target = self._run / name
            if target.exists() and target.stat().st_size == there[name]:
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            partial = target.with_name(f'.{target.name}.tmp')
            self._store.get_file(f'{self._root}/{name}', str(partial))
            os.replace(partial, target)
        return len(wanted)

    def _begin(self) -> None:
        """Fetch the copy if there is no run here, and claim it. config.json is fetched last: until then there is no run here."""
        if not (self._run / 'config.json').exists() and (files := self.fetch()):
            self._say(f'{files} files of the run were fetched from {self.address}')
        self._copied = self._there()
        file, claim = self._run / NAME, f'{self._root}/{NAME}'
        own = file.read_bytes() if file.exists() else None
        standing = self._store.cat_file(claim) if NAME in self._copied else None
        if standing is not None and standing != own:
            raise ValueError(f'{self.address} holds the copy of another run than {self._run}; choose another mirror or another --workdir')
        if own is None:
            self._run.mkdir(parents=True, exist_ok=True)
            own = json.dumps({'run': uuid.uuid4().hex}).encode()
            file.write_bytes(own)
        self._store.pipe_file(claim, own)

    def _follow(self) -> None:
        """The thread: copy whenever there is something new, and again after a pause where the store fails."""
        pause = 0.0
        while not self._ended.is_set():
            self._new.wait()
            self._new.clear()
            try:
                self.copy()
                if pause:
                    self._say(f'{self.address} answers again, and the run is copied')
                pause = 0.0
            except Exception as error:      # of any library behind fsspec
                if not pause:
                    self._say(f'{self.address} cannot be written ({_words(error)}); the run goes on and is copied later')
                pause = min(max(2 * pause, self._patience.first), self._patience.longest)
                self._new.set()
            self._ended.wait(pause or self._patience.between)

    def _persist(self, action: Callable[[], None], deadline: float) -> None:
        pause = self._patience.first
        while True:
            try:
                return action()
            except ValueError:
                raise
            except Exception as error:      # of any library behind fsspec
                if type(error).__name__ in _LASTING or time.monotonic() + pause > deadline:
                    raise ValueError(f'{self.address} cannot be used ({_words(error)}); look at the address, the credentials and the store') from None
                time.sleep(pause)
                pause = min(2 * pause, self._patience.longest)

    def _there(self) -> dict[str, int]:
        """Size of each file of the copy."""
        self._store.invalidate_cache()
        try:
            found = self._store.find(self._root, detail=True)
        except FileNotFoundError:
            return {}
        start = len(self._root.rstrip('/')) + 1
        names = {path[start:]: facts['size'] for path, facts in found.items() if facts.get('type') == 'file'}
        return {name: size for name, size in names.items() if not _LEFT_OUT.search(name)}

    def _local(self) -> Iterator[tuple[str, tuple[int, int]]]:
        """(name, (size, time of change)) of each file to copy."""
        for folder, folders, files in os.walk(self._run):
            here = PurePosixPath(Path(folder).relative_to(self._run))
            folders[:] = [name for name in folders if not _LEFT_OUT.search(f'{here / name}/')]
            if _UNIT.fullmatch(f'{here}/') and MARK not in files:
                folders[:] = []
                continue
            for file in files:
                name = str(here / file)
                if not _LEFT_OUT.search(name):
                    with contextlib.suppress(FileNotFoundError):
                        facts = (self._run / name).stat()
                        yield name, (facts.st_size, facts.st_mtime_ns)

    def _same(self, name: str, facts: tuple[int, int]) -> bool:
        """Whether the copy of a file is what the file is now. Of what was found on the store the size is known, enough for files that never change."""
        copied = self._copied.get(name)
        return copied == facts or (copied == facts[0] and _FINAL.match(name) is not None)


def open_store(address: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """The file system behind an address, and the path in it. Raises ValueError with the remedy."""
    protocol = address.partition('://')[0]
    if '://' not in address:
        raise ValueError(f'mirror is {address!r}; give an address such as gs://bucket/runs or s3://bucket/runs')
    try:
        folders = {'auto_mkdir': True} if protocol in ('file', 'local') else {}
        return fsspec.core.url_to_fs(address, skip_instance_cache=True, use_listings_cache=False, **folders)
    except ImportError as error:
        extra = _PACKAGES.get(protocol)
        remedy = f'pip install -e .[{extra}]' if extra else 'install the package that fsspec names for it'
        raise ValueError(f'nothing is installed that reaches {protocol}:// addresses ({_words(error)}); {remedy}') from None
    except ValueError as error:
        raise ValueError(f'mirror is {address!r}, which fsspec does not know ({_words(error)}); give gs://bucket/runs or s3://bucket/runs') from None


def probe(store: fsspec.AbstractFileSystem, root: str) -> None:
    """Writes an empty file and takes it away. Raises what the store raises."""
    store.pipe_file(f'{root}/.probe', b'')
    store.rm_file(f'{root}/.probe')


def send(file: Path, address: str) -> str:
    """Copies one file into a folder of a store, and returns where it stands. Raises ValueError with the remedy."""
    target = f'{address.rstrip("/")}/{file.name}'
    store, path = open_store(target)
    try:
        store.put_file(str(file), path)
    except Exception as error:      # of any library behind fsspec
        raise ValueError(f'{target} cannot be written ({_words(error)}); look at the address, the credentials and the store') from None
    return target


def _unit(name: str) -> str:
    """The directory of a file that counts only with its mark: a checkpoint's step, or the reference; '' for other files."""
    found = _UNIT.match(name)
    return found[0] if found else ''


def _turn(name: str) -> tuple[bool, bool, str]:
    """Order of copying: checkpoints behind the rest, the marks behind all."""
    return bool(_unit(name)) and name.endswith(MARK), bool(_unit(name)), name


def _words(error: Exception) -> str:
    return ' '.join(f'{type(error).__name__}: {error}'.split())[:200].rstrip('.;')
