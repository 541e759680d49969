"""A pool of fork servers that executes programs nobody has to trust.

    submit ──► queue ──► lane (a thread) ──► ForkServer ──► process of the program
                           │  one job at a time; replaces a lost server and runs its job once more
                           ▼
                        Execution

Covered, as far as `Sandbox.layers` says that the layer holds on this machine:
    reading and writing files outside system paths and the own scratch directory; network; starting processes;
    signals to others; memory, CPU and wall time; file size and total scratch; output floods; crashes; huge figures.
Not covered:
    a program can claim elements and pixels it did not draw, by writing its own result frame; whether a path exists
    outside can be asked (stat is not watched); kernel bugs and side channels; as root without Landlock, root's files.

`python -m recoder_jax.charts.sandbox --report` prints the layers of this machine.
"""

import argparse
import queue
import shutil
import signal
import tempfile
import threading
from collections.abc import Sequence
from concurrent.futures import Future

from recoder_jax.charts.execution import Execution, Limits, Status, failure
from recoder_jax.charts.isolation import LAYERS
from recoder_jax.charts.server import ForkServer, ServerLost

__all__ = ['Execution', 'Limits', 'Sandbox', 'Status']

_STARTS = 3      # attempts to start a server before a job is given up


class Sandbox:
    """Executes programs in `workers` processes at a time. A context manager; `close` ends it.

    Every program ends in an Execution; none raises in the caller or makes it wait for longer than its limits.
    """

    def __init__(self, workers: int = 2, limits: Limits = Limits(), seed: int = 0):
        """Starts the fork servers. ValueError for workers < 1 or when they cannot be started.

        seed: every program starts with random and numpy seeded by it.
        """
        if workers < 1:
            raise ValueError(f'the sandbox has {workers} workers; give at least 1')
        self._limits = limits
        self._folder = tempfile.mkdtemp(prefix='recoder-sandbox-')
        self._jobs: queue.SimpleQueue = queue.SimpleQueue()
        self._closed = False
        self._lock = threading.Lock()
        self._lanes = [_Lane(self._jobs, limits, seed, self._folder) for _ in range(workers)]
        errors = [error for lane in self._lanes if (error := lane.started.result())]
        if errors:
            self.close()
            raise ValueError(f'the sandbox did not start: {errors[0]}')

    @property
    def layers(self) -> dict[str, bool]:
        """Name of each layer of isolation -> whether it holds in every fork server."""
        return {name: all(lane.layers[name] for lane in self._lanes) for name in LAYERS}

    @property
    def server_pids(self) -> list[int]:
        """Process ids of the fork servers."""
        return [lane.server.pid for lane in self._lanes if lane.server is not None]

    def submit(self, program: str) -> Future[Execution]:
        """Queues a program. ValueError after `close`."""
        future: Future[Execution] = Future()
        try:
            encoded = program.encode()
        except UnicodeEncodeError as error:
            encoded, wrong = b'', f'the program is not Unicode text: {error.reason} at {error.start}'
        else:
            cap = self._limits.program_bytes
            wrong = f'the program has {len(encoded)} bytes, more than {cap}' if len(encoded) > cap else ''
        if wrong:
            future.set_result(failure(Status.error, wrong))
            return future
        with self._lock:
            if self._closed:
                raise ValueError('the sandbox is closed; open a new one')
            self._jobs.put((encoded, future))
        return future

    def execute(self, program: str) -> Execution:
        """Runs one program and waits for it."""
        return self.submit(program).result()

    def execute_all(self, programs: Sequence[str]) -> list[Execution]:
        """Runs programs, equal ones once, and returns their executions in the order given."""
        futures = {program: None for program in programs}
        for program in futures:
            futures[program] = self.submit(program)
        return [futures[program].result() for program in programs]

    def close(self) -> None:
        """Ends the servers. Programs that still wait are cancelled; those that run are given up as killed."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        while True:
            try:
                self._jobs.get_nowait()[1].cancel()
            except queue.Empty:
                break
        for lane in self._lanes:
            lane.stop()
            self._jobs.put(None)
        for lane in self._lanes:
            lane.join()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> 'Sandbox':
        return self

    def __exit__(self, *exception) -> None:
        self.close()


class _Lane(threading.Thread):
    """Owns one fork server and feeds it; the thread that starts the server is the one that waits for it."""

    def __init__(self, jobs: queue.SimpleQueue, limits: Limits, seed: int, folder: str):
        super().__init__(name='sandbox', daemon=True)
        self._jobs = jobs
        self._limits = limits
        self._make = lambda: ForkServer(limits, seed, folder)
        self._stopping = threading.Event()
        self.server: ForkServer | None = None
        self.layers = dict.fromkeys(LAYERS, False)
        self.started: Future[str] = Future()      # '' or why not
        self.start()

    def stop(self) -> None:
        """Ends a running program; the thread ends with the next None it gets."""
        self._stopping.set()
        if self.server is not None:
            self.server.kill()

    def run(self) -> None:
        try:
            self._serve()
            self.started.set_result('')
        except Exception as error:                # the caller waits for an answer and turns it into a sentence
            self.started.set_result(str(error) or type(error).__name__)
        while (job := self._jobs.get()) is not None:
            program, future = job
            if future.set_running_or_notify_cancel():
                future.set_result(self._execute(program))
        self._drop()

    def _execute(self, program: bytes) -> Execution:
        """Runs a program; once more when its server or its process was killed from outside."""
        reason = ''
        for _ in range(2):
            if self._stopping.is_set():
                return failure(Status.killed, 'the sandbox was closed')
            try:
                self._serve()
                execution, ending = self.server.run(program)
            except Exception as error:            # whatever went wrong, the caller gets an Execution
                self._drop()
                reason = f'{type(error).__name__}: {error}'
                continue
            if execution.status is not Status.killed or ending.code != -signal.SIGKILL:
                return execution
            reason = execution.log
        if self._stopping.is_set():
            return failure(Status.killed, 'the sandbox was closed')
        return failure(Status.internal, reason) if self.server is None else failure(Status.killed, reason)

    def _serve(self) -> None:
        """Makes sure that a server is ready; ServerLost when none starts."""
        for attempt in range(_STARTS):
            if self.server is not None:
                return
            self.server = self._make()
            try:
                self.layers = self.server.layers()
            except ServerLost:
                self._drop()
                if attempt == _STARTS - 1 or self._stopping.is_set():
                    raise

    def _drop(self) -> None:
        server, self.server = self.server, None
        if server is not None:
            server.close()


def report(sandbox: Sandbox) -> str:
    """One line a layer: whether it holds and what it covers."""
    return '\n'.join(f'{"holds  " if holds else "MISSING"}  {name:<20}  {LAYERS[name]}'
                     for name, holds in sandbox.layers.items())


def main() -> None:
    parser = argparse.ArgumentParser(prog='python -m recoder_jax.charts.sandbox', description=report.__doc__)
    parser.add_argument('--report', action='store_true', required=True, help='print the layers of isolation that hold')
    parser.parse_args()
    with Sandbox(workers=1) as sandbox:
        print(report(sandbox))


if __name__ == '__main__':
    main()
