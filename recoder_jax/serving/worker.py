"""The thread that owns the engine. Others hand it jobs and hear of each what it says, chunk by chunk.

    submit ──► inbox ──► waiting, in order ──► engine, at most one job a place ──► tell(pieces) after every step ──► ... ──► the last piece of each row
    cancel ──► inbox ──────────────────────────────┴──► its place is free at the next step

A job goes to the engine when a place is free, so none overtakes another. The engine stands still while nobody speaks.
"""

import collections
import contextlib
import dataclasses
import queue
import threading
from collections.abc import Callable, Sequence

import jax
import numpy as np

from recoder_jax.sampling.engine import Engine
from recoder_jax.sampling.places import Request
from recoder_jax.serving.text import Spoken, Utterance


@dataclasses.dataclass(frozen=True)
class Piece:
    """What a row said since its last piece. finish: "stop" or "length" in its last one. count: tokens drawn so far, also those that are
    not in the text: of the end or of a stop string."""

    row: int
    text: str
    tokens: Sequence[Spoken]
    finish: str | None
    count: int


class Stopped(Exception):
    """The worker was closed before a job was done."""


@dataclasses.dataclass(eq=False)
class Job:
    """A request and whom to tell, on the worker's thread: lists of pieces, or the error that ended the job. Without stop strings `stops` is empty."""

    request: Request
    stops: tuple[str, ...]
    tell: Callable[[list[Piece] | Exception], None]
    rows: dict[int, Utterance] = dataclasses.field(default_factory=dict)  # that still speak


class Worker:
    """spelling: bytes of each id. on_failure: told of an error of the engine, after which no job is done.

    running, waiting: jobs on a place, and before one. They may be read from any thread.
    """

    def __init__(self, engine: Engine, spelling: Sequence[bytes], on_failure: Callable[[Exception], None] = lambda _: None):
        self.failure: Exception | None = None
        self._engine, self._spelling, self._on_failure = engine, spelling, on_failure
        self._inbox: queue.SimpleQueue = queue.SimpleQueue()
        self._waiting: collections.deque[Job] = collections.deque()
        self._running: dict[Request, Job] = {}
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    @property
    def running(self) -> int:
        return len(self._running)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def submit(self, job: Job) -> None:
        self._inbox.put((self._take, job))

    def cancel(self, job: Job) -> None:
        """Forget a job, which is told nothing more once its place is free. One that is done is left as it is."""
        self._inbox.put((self._drop, job))

    def close(self) -> None:
        """End the thread; jobs that are not done are told Stopped. May be called twice."""
        self._inbox.put((self._end, None))
        self._thread.join()

    # on the thread

    def _run(self) -> None:
        mesh = self._engine.sampler.mesh
        with contextlib.nullcontext() if mesh is None else jax.set_mesh(mesh):
            while not self._closed:
                try:
                    self._hear()
                    self._work()
                except Exception as error:  # of the engine, which is not to be used any more: its arrays may be gone
                    self._fail(error)

    def _hear(self) -> None:
        """All that lies in the inbox, and where nothing is to be done, what comes next."""
        while True:
            idle = self.failure is not None or not (self._running or self._waiting or self._engine.busy)
            try:
                action, job = self._inbox.get(block=idle and not self._closed)
            except queue.Empty:
                return
            action(job)

    def _take(self, job: Job) -> None:
        if self.failure is not None or self._closed:
            job.tell(self.failure or Stopped())
        else:
            self._waiting.append(job)

    def _drop(self, job: Job) -> None:
        if self._running.pop(job.request, None):
            self._engine.cancel(job.request)
        elif job in self._waiting:
            self._waiting.remove(job)

    def _end(self, _) -> None:
        self._closed = True
        self._tell_all(Stopped())

    def _fail(self, error: Exception) -> None:
        self.failure = error
        self._tell_all(error)
        self._on_failure(error)

    def _tell_all(self, error: Exception) -> None:
        for job in (*self._running.values(), *self._waiting):
            job.tell(error)
        self._running.clear()
        self._waiting.clear()

    def _work(self) -> None:
        """Let jobs in where places are free, decode a chunk, and tell what it brought."""
        if self._closed or self.failure is not None:
            return
        while self._waiting and len(self._running) < self._engine.room.places:
            job = self._waiting.popleft()
            try:
                self._engine.submit(job.request)
            except ValueError as error:  # the room cannot hold it
                job.tell(error)
                continue
            job.rows = {row: Utterance(self._spelling, job.stops) for row in range(job.request.rows)}
            self._running[job.request] = job
        if not self._engine.busy:
            return
        ended = {(said.request, said.row): said.ended for said in self._engine.step()}
        for job in list(self._running.values()):
            pieces = [piece for row in list(job.rows) if (piece := self._piece(job, row, ended.get((job.request, row))))]
            if not job.rows:
                del self._running[job.request]
            if pieces:
                job.tell(pieces)

    def _piece(self, job: Job, row: int, ended: bool | None) -> Piece | None:
        """What a row said in the last chunk; nothing where there is nothing to tell. ended: None while it speaks, false where it was cut."""
        utterance = job.rows[row]
        tokens, logprobs = self._engine.spoken(job.request, row)
        for token, logprob in _behind(tokens, logprobs, utterance.count):
            utterance.add(token, logprob)
            if utterance.stopped:
                break
        finish = "stop" if utterance.stopped or ended else None if ended is None else "length"
        if finish:
            utterance.end()
            finish = "stop" if utterance.stopped else finish
            if ended is None:
                self._engine.stop(job.request, row)
            self._engine.release(job.request, row)
            del job.rows[row]
        text, spoken = utterance.take()
        return Piece(row, text, spoken, finish, utterance.count) if text or finish else None


def _behind(tokens: np.ndarray, logprobs: np.ndarray, count: int):
    """Tokens from number `count` on, as numbers of Python."""
    return zip(tokens[count:].tolist(), logprobs[count:].tolist(), strict=True)
