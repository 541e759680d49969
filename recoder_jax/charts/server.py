"""The trusted side's handle on one fork server."""

import dataclasses
import fcntl
import json
import os
import select
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from recoder_jax.charts.execution import Execution, Limits
from recoder_jax.charts.frames import REPLY, Ending, execution_from, max_frame
from recoder_jax.charts.scratch import empty_directory

_PIPE_BYTES = 1 << 20
_GRACE_SECONDS = 5.0          # beyond the deadline the server enforces itself
_START_SECONDS = 120.0        # the first start on a machine lists its fonts
_SET_PIPE_SIZE = 1031         # F_SETPIPE_SZ


class ServerLost(Exception):
    """The fork server died, hung or did not start; the job it held may be run again on another one."""


class ForkServer:
    """Starts a fork server and runs one program at a time in it. Not thread-safe: one thread owns it."""

    def __init__(self, limits: Limits, seed: int, folder: str):
        """Starts the process without waiting for it. `folder` holds its scratch directory and must exist."""
        self._limits = limits
        self._errors = tempfile.TemporaryFile(dir=folder)
        scratch = tempfile.mkdtemp(prefix='job-', dir=folder)
        settings = {'limits': dataclasses.asdict(limits), 'seed': seed, 'scratch': scratch}
        self._control, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, '-P', '-s', '-m', 'recoder_jax.charts.worker', str(theirs.fileno()),
                 json.dumps(settings)],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self._errors, cwd=folder,
                env=_environment(scratch), pass_fds=(theirs.fileno(),), start_new_session=True)
        self._scratch = scratch

    @property
    def pid(self) -> int:
        return self._process.pid

    def layers(self) -> dict[str, bool]:
        """Which walls hold; waits until the server is ready. ServerLost when it does not start."""
        deadline = time.monotonic() + _START_SECONDS
        length = int.from_bytes(self._receive(4, deadline), 'little')
        return json.loads(self._receive(length, deadline))['layers']

    def run(self, program: bytes) -> tuple[Execution, Ending]:
        """Runs one program; ServerLost when the server died or hung."""
        reading, writing = os.pipe()
        try:
            try:
                fcntl.fcntl(reading, _SET_PIPE_SIZE, _PIPE_BYTES)
            except OSError:
                pass                   # over the user's share of pipe memory; the default size also works
            os.set_blocking(reading, False)
            try:
                self._control.settimeout(_GRACE_SECONDS)
                socket.send_fds(self._control, [len(program).to_bytes(4, 'little')], [writing])
                self._control.sendall(program)
            except OSError as error:
                raise ServerLost(str(error)) from error
            finally:
                os.close(writing)
            frame = self._collect(reading)
        finally:
            os.close(reading)
        ending = Ending(*REPLY.unpack(self._receive(REPLY.size, time.monotonic() + _GRACE_SECONDS)))
        return execution_from(frame, ending, self._limits), ending

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
        """Ends the process; the thread that runs a program then gets ServerLost. May be called by any thread."""
        self._process.kill()

    def close(self) -> None:
        """Ends the process and removes its scratch directory."""
        self._control.close()
        self._process.kill()
        self._process.wait()
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


def _environment(scratch: str) -> dict[str, str]:
    """The whole environment of a fork server: nothing of the trusted side's but the font list of matplotlib."""
    cache = Path(os.environ.get('XDG_CACHE_HOME') or os.path.expanduser('~/.cache')) / 'recoder_jax' / 'matplotlib'
    return {
        'PATH': '/usr/bin:/bin',
        'PYTHONPATH': str(Path(__file__).resolve().parents[2]),
        'PYTHONHASHSEED': '0',
        'PYTHONDONTWRITEBYTECODE': '1',
        'HOME': scratch,
        'TMPDIR': scratch,
        'MPLCONFIGDIR': str(cache),
        'MPLBACKEND': 'Agg',
        'OMP_NUM_THREADS': '1',
        'OPENBLAS_NUM_THREADS': '1',
        'MKL_NUM_THREADS': '1',
        'LANG': 'C.UTF-8',
        'TZ': 'UTC',
    }
