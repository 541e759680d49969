"""The trusted side's handle on one fork server."""

import dataclasses
import fcntl
import importlib.util
import json
import os
import select
import signal
import site
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from recoder_jax.charts.execution import Limits
from recoder_jax.charts.frames import REPLY, Ending, max_frame
from recoder_jax.charts.scratch import empty_directory
from recoder_jax.languages.language import Language, find

_PIPE_BYTES = 1 << 20
_GRACE_SECONDS = 5.0          # beyond the deadline the server enforces itself
_END_SECONDS = 5.0            # from the end of a fork server to that of the process it came from
_START_SECONDS = 120.0        # the first start on a machine lists its fonts
_SET_PIPE_SIZE = 1031         # F_SETPIPE_SZ


class ServerLost(Exception):
    """The fork server died, hung or did not start; the job it held may be run again on another one."""


class ServerRefused(Exception):
    """The fork server does not start with the isolation that was asked for; the message says which layer is missing."""


@dataclasses.dataclass(frozen=True)
class ServerSettings:
    """How to start a fork server.

    Attributes:
        limits: bounds of a program.
        seed: of the generators of a program.
        isolation, replay, tier: as `sandbox.Sandbox` takes them.
        science: whether it imports the modules of `warm.SCIENCE`.
        language: name of the language of the programs (languages/language.py).
    """

    limits: Limits
    seed: int
    isolation: str
    replay: str
    tier: str | None
    science: bool
    language: str = 'python'


@dataclasses.dataclass(frozen=True)
class Walls:
    """What holds in a fork server: layer -> whether it holds, and the name of the tier."""

    layers: dict[str, bool]
    tier: str


class ForkServer:
    """Starts a fork server and runs one program at a time in it. Not thread-safe: one thread owns it."""

    def __init__(self, settings: ServerSettings, folder: str):
        """Starts the process without waiting for it. `folder` holds its scratch directory and must exist."""
        self._limits = settings.limits
        self._errors = tempfile.TemporaryFile(dir=folder)
        scratch = tempfile.mkdtemp(prefix='job-', dir=folder)
        self._control, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, '-P', '-s', '-m', 'recoder_jax.charts.worker', str(theirs.fileno()),
                 json.dumps(dataclasses.asdict(settings) | {'scratch': scratch})],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self._errors, cwd=folder,
                env=_environment(scratch, folder, settings.language), pass_fds=(theirs.fileno(),), start_new_session=True)
        self._scratch = scratch
        self._pid = 0
        self._handle: int | None = None      # of the fork server, once it has told its number

    @property
    def pid(self) -> int:
        """Process id of the fork server; that of the process it starts from until it has told its own."""
        return self._pid or self._process.pid

    @property
    def ended(self) -> bool:
        """Whether the process is gone."""
        return self._process.poll() is not None

    def walls(self) -> Walls:
        """What holds; waits until the server is ready. ServerLost when it does not start, ServerRefused."""
        deadline = time.monotonic() + _START_SECONDS
        self._pid = int.from_bytes(self._receive(4, deadline), 'little')
        try:
            self._handle = os.pidfd_open(self._pid)
        except ProcessLookupError as error:
            raise ServerLost('the fork server ended at its start') from error
        length = int.from_bytes(self._receive(4, deadline), 'little')
        hello = json.loads(self._receive(length, deadline))
        if hello['error']:
            raise ServerRefused(hello['error'])
        return Walls(hello['layers'], hello['tier'])

    def run(self, program: bytes) -> tuple[bytes, Ending]:
        """Runs one program; its frame and how it ended. ServerLost when the server died or hung."""
        reading, writing = os.pipe()
        try:
            try:
                fcntl.fcntl(reading, _SET_PIPE_SIZE, _PIPE_BYTES)
            except OSError:
                pass                   # over the user's share of pipe memory; the default size also works
            os.set_blocking(reading, False)
            try:
                self._send(b'P', writing)
                self._control.sendall(len(program).to_bytes(4, 'little') + program)
            except OSError as error:
                raise ServerLost(str(error)) from error
            finally:
                os.close(writing)
            frame = self._collect(reading)
        finally:
            os.close(reading)
        ending = Ending(*REPLY.unpack(self._receive(REPLY.size, time.monotonic() + _GRACE_SECONDS)))
        return frame, ending

    def start_replayer(self) -> socket.socket:
        """The socket of a replayer that was just started; the one before it ends. ServerLost when the server died."""
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                self._send(b'R', theirs.fileno())
            except OSError as error:
                ours.close()
                raise ServerLost(str(error)) from error
        return ours

    def _send(self, kind: bytes, descriptor: int) -> None:
        self._control.settimeout(_GRACE_SECONDS)
        socket.send_fds(self._control, [kind], [descriptor])

    def _collect(self, reading: int) -> bytes:
        """Reads the result pipe until the process has ended or the result is over its cap."""
        deadline = time.monotonic() + self._limits.seconds + _GRACE_SECONDS
        cap = max_frame(self._limits)
        frame = bytearray()
        poller = select.poll()
        poller.register(reading, select.POLLIN)
        poller.register(self._control, select.POLLIN)
        while True:
            events = dict(poller.poll(max(0.0, 1000 * (deadline - time.monotonic()))))
            if not events:
                raise ServerLost('no answer within the deadline')
            ended = self._control.fileno() in events
            while (part := _read(reading)):
                frame += part
                if len(frame) > cap:
                    return bytes(frame)
            if ended or part == b'':
                return bytes(frame)

    def _receive(self, size: int, deadline: float) -> bytes:
        parts = b''
        while len(parts) < size:
            self._control.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                part = self._control.recv(size - len(parts))
            except OSError as error:
                raise ServerLost(f'no answer from the fork server: {error}') from error
            if not part:
                raise ServerLost(f'the fork server ended: {self._last_error()}')
            parts += part
        return parts

    def _last_error(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read()[-2_000:].decode(errors='replace').strip().splitlines()
        return lines[-1] if lines else 'it said nothing'

    def kill(self) -> None:
        """Ends the process; the thread that runs a program then gets ServerLost. May be called by any thread.

        The first process of a namespace is killed by itself: the one that waits for it then collects it and ends.
        """
        if self._handle is None:
            self._process.kill()
            return
        try:
            signal.pidfd_send_signal(self._handle, signal.SIGKILL)
        except OSError:
            pass                   # it has ended, and the thread that owns it may have closed the handle

    def close(self) -> None:
        """Ends the process and removes its scratch directory."""
        self._control.close()
        self.kill()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
        self._errors.close()
        try:
            empty_directory(self._scratch)
            os.rmdir(self._scratch)
        except OSError:
            pass                   # it lies in the folder of the sandbox, which is removed with it


def _read(descriptor: int) -> bytes | None:
    """Bytes that are there, b'' at the end, None when there are none yet."""
    try:
        return os.read(descriptor, _PIPE_BYTES)
    except BlockingIOError:
        return None


def _environment(scratch: str, folder: str, language: str) -> dict[str, str]:
    """The whole environment of a fork server: nothing of the trusted side's but where packages and font lists are."""
    return {
        'PATH': os.pathsep.join([*_guest_folders(find(language)), '/usr/bin', '/bin']),
        'PYTHONPATH': os.pathsep.join(_package_folders(find(language))),
        'PYTHONHASHSEED': '0',
        'PYTHONDONTWRITEBYTECODE': '1',
        'HOME': scratch,
        'TMPDIR': scratch,
        'MPLCONFIGDIR': _cache_folder(folder),
        'MPLBACKEND': 'Agg',
        'OMP_NUM_THREADS': '1',
        'OPENBLAS_NUM_THREADS': '1',
        'MKL_NUM_THREADS': '1',
        'LANG': 'C.UTF-8',
        'TZ': 'UTC',
    }


def _package_folders(language: Language) -> list[str]:
    """Where this package is, and where matplotlib, numpy and the renderer of the language are if a fresh interpreter would not find them there."""
    folders = [str(Path(__file__).resolve().parents[2])]
    for name in ('matplotlib', 'numpy', *([language.renderer.package] if language.renderer else [])):
        folder = str(Path(importlib.util.find_spec(name).origin).parents[1])
        if folder not in folders and folder not in site.getsitepackages():
            folders.append(folder)
    return folders


def _guest_folders(language: Language) -> list[str]:
    """Where the guest of the language is found."""
    path = language.renderer and language.renderer.guest and language.renderer.guest.path()
    return [os.path.dirname(path)] if path else []


def _cache_folder(folder: str) -> str:
    """A directory for matplotlib's list of fonts that outlives the sandbox, else one in `folder`."""
    home = Path(os.environ.get('XDG_CACHE_HOME') or os.path.expanduser('~/.cache'))
    for cache in (home / 'recoder_jax' / 'matplotlib', Path(folder) / 'matplotlib'):
        try:
            cache.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(cache, os.W_OK | os.X_OK):
            return str(cache.resolve())
    return folder
