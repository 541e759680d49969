"""A pool of fork servers that executes programs nobody has to trust.

    submit ──► queue ──► lane (a thread) ──► ForkServer ──► process of the program
                           │  │  one job at a time; replaces a lost server and runs its job once more
                           │  └─► Reader ──► replayer, a process beside it
                           ▼
                        Execution

`Sandbox.report()` says what holds on this machine and what is not covered, and so does

    python -m recoder_jax.charts.sandbox --report [--tier NAME]
"""

import argparse
import dataclasses
import os
import queue
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Sequence
from concurrent.futures import Future

from recoder_jax.charts.execution import Execution, Limits, Status, failure
from recoder_jax.charts.frames import Ending
from recoder_jax.charts.reader import Reader, ReplayerLost
from recoder_jax.charts.server import ForkServer, ServerLost, ServerSettings, Walls
from recoder_jax.charts.tiers import LAYERS, NO_TIER, TIERS, report, summary
from recoder_jax.charts.warm import names_science
from recoder_jax.languages.language import find

__all__ = ['Execution', 'Limits', 'Sandbox', 'Status']

_STARTS = 3      # attempts to start a server before a job is given up
_REPLAYS = 2     # attempts to replay a figure
_ISOLATIONS = ('auto', 'strict', 'forced')
_REPLAY_MODES = ('required', 'preferred', 'off')


class Sandbox:
    """Executes programs in `workers` processes at a time. A context manager; `close` ends it.

    Every program ends in an Execution; none raises in the caller or makes it wait for longer than its limits.
    """

    def __init__(self, workers: int = 2, limits: Limits = Limits(), seed: int = 0, isolation: str = 'auto',
                 replay: str = 'required', tier: str | None = None, language: str = 'python'):
        """Starts the fork servers. ValueError for values that are none of those below, and when they cannot start.

        seed: every program starts with random and numpy seeded by it.
        isolation: 'auto' uses every layer that holds and refuses to start where opening files cannot be denied,
            'strict' refuses to start when a layer of LAYERS is missing, 'forced' runs with whatever holds.
        replay: 'required' ends a program whose figure cannot be replayed as Status.output, 'preferred' falls back to
            the pixels and claims of its process, 'off' always takes those.
        tier: None uses all the machine offers; a name of TIERS uses no layer above that tier.
        language: of the programs (languages/language.py). What a renderer draws is not replayed: it runs nothing of a program.
        """
        if workers < 1:
            raise ValueError(f'the sandbox has {workers} workers; give at least 1')
        for name, value, known in (('isolation', isolation, _ISOLATIONS), ('replay', replay, _REPLAY_MODES),
                                   ('tier', tier, (None, *TIERS))):
            if value not in known:
                raise ValueError(f'{name} is {value!r}; give one of {", ".join(map(str, known))}')
        spoken = find(language)
        spoken.check_installed()
        self._limits = limits
        self._folder = tempfile.mkdtemp(prefix='recoder-sandbox-')
        os.chmod(self._folder, 0o711)            # programs of another user reach their scratch directory in it
        self._jobs: queue.SimpleQueue = queue.SimpleQueue()
        self._closed = False
        self._lock = threading.Lock()
        settings = ServerSettings(limits, seed, isolation, 'off' if spoken.renderer else replay, tier, science=False, language=language)
        self._lanes = [_Lane(self._jobs, settings, self._folder) for _ in range(workers)]
        errors = [error for lane in self._lanes if (error := lane.started.result())]
        if errors:
            self.close()
            raise ValueError(f'the sandbox did not start: {errors[0]}')

    @property
    def layers(self) -> dict[str, bool]:
        """Name of each layer of isolation -> whether it holds in every fork server."""
        return {name: all(lane.walls.layers[name] for lane in self._lanes) for name in LAYERS}

    @property
    def tier(self) -> str:
        """Name of the lowest tier that a fork server reached."""
        return max((lane.walls.tier for lane in self._lanes), key=[*TIERS, NO_TIER].index)

    def summary(self) -> str:
        """One line for the log of a run: tier and missing layers."""
        return summary(self.layers, self.tier)

    def report(self) -> str:
        """Lines for a person: tier, layers, what is not covered."""
        return report(self.layers, self.tier)

    @property
    def workers(self) -> int:
        """Programs that run at once."""
        return len(self._lanes)

    @property
    def server_pids(self) -> list[int]:
        """Process ids of the fork servers."""
        return [server.pid for lane in self._lanes for server in lane.servers]

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


class _Post:
    """A fork server and the reader of its results, replaced when one of them is lost. One thread owns it."""

    def __init__(self, settings: ServerSettings, folder: str, stopping: threading.Event):
        self._settings = settings
        self._folder = folder
        self._stopping = stopping
        self._reader = Reader(settings.limits, settings.replay, find(settings.language).elements)
        self.server: ForkServer | None = None
        self.walls = Walls(dict.fromkeys(LAYERS, False), NO_TIER)

    def run(self, program: bytes) -> tuple[Execution, Ending]:
        """Runs a program; an exception when the server was lost, and then the next call starts another."""
        try:
            self.serve()
            frame, ending = self.server.run(program)
            return self._read(frame, ending), ending
        except Exception:
            self.drop()
            raise

    def _read(self, frame: bytes, ending: Ending) -> Execution:
        """The execution of a frame; one that ends every replayer it meets has none."""
        for _ in range(_REPLAYS):
            try:
                return self._reader.read(frame, ending)
            except ReplayerLost:
                self._reader.attach(self.server.start_replayer())
        return failure(Status.output, 'the figure could not be replayed', ending.seconds)

    def serve(self) -> None:
        """Makes sure that a server and its replayer are ready; ServerLost or ServerRefused when none starts."""
        for attempt in range(_STARTS):
            if self.server is not None:
                return
            self.server = ForkServer(self._settings, self._folder)
            try:
                self.walls = self.server.walls()
                if self._settings.replay != 'off':
                    self._reader.attach(self.server.start_replayer())
            except ServerLost:
                self.drop()
                if attempt == _STARTS - 1 or self._stopping.is_set():
                    raise

    def drop(self) -> None:
        """Ends the server."""
        self._reader.close()
        server, self.server = self.server, None
        if server is not None:
            server.close()


class _Lane(threading.Thread):
    """Feeds one program at a time to its posts; the thread that starts a server is the one that waits for it.

    Programs that name a module of `warm.SCIENCE` go to a fork server that has imported those, which is started for the
    first of them. The others are spared its memory: forks and ends of a process are cheaper where there is less.
    """

    def __init__(self, jobs: queue.SimpleQueue, settings: ServerSettings, folder: str):
        super().__init__(name='sandbox', daemon=True)
        self._jobs = jobs
        self._stopping = threading.Event()
        self._plain = _Post(settings, folder, self._stopping)
        self._imports = find(settings.language).renderer is None
        self._science = _Post(dataclasses.replace(settings, science=True), folder, self._stopping)
        self.started: Future[str] = Future()      # '' or why not
        self.start()

    @property
    def walls(self) -> Walls:
        """Of the server for most programs; the other one has the same."""
        return self._plain.walls

    @property
    def servers(self) -> list[ForkServer]:
        """The fork servers that run."""
        found = [post.server for post in (self._plain, self._science)]
        return [server for server in found if server is not None]

    def stop(self) -> None:
        """Ends a running program; the thread ends with the next None it gets."""
        self._stopping.set()
        for server in self.servers:
            server.kill()

    def run(self) -> None:
        try:
            self._plain.serve()
            self.started.set_result('')
        except Exception as error:                # the caller waits for an answer and turns it into a sentence
            self.started.set_result(str(error) or type(error).__name__)
        while (job := self._jobs.get()) is not None:
            program, future = job
            if future.set_running_or_notify_cancel():
                future.set_result(self._execute(program))
            for post in (self._plain, self._science):      # one that was lost while the other one worked
                if post.server is not None and post.server.ended:
                    post.drop()
        self._plain.drop()
        self._science.drop()

    def _execute(self, program: bytes) -> Execution:
        """Runs a program; once more when its server or its process was killed from outside."""
        post = self._science if self._imports and names_science(program) else self._plain
        end = failure(Status.killed, 'the sandbox was closed')
        for _ in range(2):
            if self._stopping.is_set():
                return failure(Status.killed, 'the sandbox was closed')
            try:
                execution, ending = post.run(program)
            except Exception as error:            # whatever went wrong, the caller gets an Execution
                end = failure(Status.internal, f'{type(error).__name__}: {error}')
                continue
            if execution.status is not Status.killed or ending.code != -signal.SIGKILL:
                return execution
            end = execution
        return failure(Status.killed, 'the sandbox was closed') if self._stopping.is_set() else end


def main() -> int:
    """The door: 0 when the report was printed, 2 when the sandbox cannot start."""
    parser = argparse.ArgumentParser(prog='python -m recoder_jax.charts.sandbox',
                                     description='Says how well programs are contained on this machine.')
    parser.add_argument('--report', action='store_true', required=True,
                        help='print the tier, the layers that hold and what is not covered')
    parser.add_argument('--tier', choices=list(TIERS), help='use no layer above this tier')
    parser.add_argument('--isolation', choices=_ISOLATIONS, default='auto')
    arguments = parser.parse_args()
    try:
        with Sandbox(workers=1, isolation=arguments.isolation, tier=arguments.tier) as sandbox:
            print(sandbox.report())
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == '__main__':
    sys.exit(main())
