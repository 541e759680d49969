"""Whether the other processes of a run still live. jax finds a dead one too, and then ends the process with a stack trace; this says it in words.

    RUN/processes/<i>.json    {"beat": 17, "host": ..., "pid": ..., "end": ""}, written anew every BEAT seconds by process i

A process whose beat stands still for PATIENCE seconds, or which is on this host and gone, is dead; one with an `end` has failed. Waiting for it
in a collective would not end, so this process ends itself at once.
"""

import json
import os
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Self

import jax

from recoder_jax.doors import AGAIN, Ended, sentence

BEAT = 1.0
PATIENCE = 30.0


class Liveness:
    """Beats and listens on a thread of its own while it is entered; with one process it does nothing. leave: called with the exit code and the
    sentence when another process is dead or has failed, and when this one fails: at the end of Python jax would wait for the others."""

    def __init__(self, run: Path, process: int, processes: int, leave: Callable[[int, str], None] | None = None):
        self._folder, self._process, self._processes = run / "processes", process, processes
        self._leave, self._ended, self._thread = leave or leave_now, threading.Event(), None

    def __enter__(self) -> Self:
        if self._processes > 1:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._write(0, "")
            self._thread = threading.Thread(target=self._watch, daemon=True)
            self._thread.start()
        return self

    def __exit__(self, kind, error, trace) -> None:
        if self._thread:
            together = error is None or isinstance(error, Ended)
            if not together:  # a collective may have failed because another process died: listen until that is known
                collective = isinstance(error, jax.errors.JaxRuntimeError) or "Gloo" in str(error)
                self._thread.join(3 * BEAT + PATIENCE * collective)
            self._ended.set()
            self._thread.join()
            self._write(-1, "" if together else f"{type(error).__name__}: {error}")
            if not together:
                time.sleep(3 * BEAT)  # the others hear of it before jax ends them
                said = sentence(error)
                self._leave(1 if said is None else 2, said or "".join(traceback.format_exception(error)))

    def _watch(self) -> None:
        others = [Other(self._folder / f"{number}.json", number) for number in range(self._processes) if number != self._process]
        beat = 0
        while not self._ended.wait(BEAT):
            beat += 1
            self._write(beat, "")
            for other in others:
                if found := other.look(time.monotonic()):
                    return self._leave(*found)

    def _write(self, beat: int, end: str) -> None:
        """beat: -1 when this process is done."""
        partial = self._folder / f".{self._process}.partial"
        partial.write_text(json.dumps({"beat": beat, "host": socket.gethostname(), "pid": os.getpid(), "end": end}))
        partial.replace(self._folder / f"{self._process}.json")


class Other:
    """What is known of another process; a file that an earlier run left counts as not yet written until it changes."""

    def __init__(self, file: Path, number: int):
        self._file, self._number = file, number
        self._last, self._changed, self._met = self._read(), None, False

    def look(self, now: float) -> tuple[int, str] | None:
        """Exit code and sentence for this process if the other is dead or has failed."""
        told, name = self._read(), f"process {self._number}"
        if told is None or self._changed is None or told != self._last:
            self._met = self._met or (told is not None and self._changed is not None and told != self._last)
            self._last, self._changed = told, now
        if told is None or not self._met:
            return None
        if told["end"]:
            return 1, f"{name} failed ({told['end']}), so this one ends too"
        gone = told["host"] == socket.gethostname() and not runs(told["pid"])
        if told["beat"] >= 0 and (gone or now - self._changed > PATIENCE):
            seen = "is gone" if gone else f"was not heard of for {PATIENCE:.0f} s"
            return AGAIN, f"{name} (pid {told['pid']} on {told['host']}) {seen}, so this one ends too; start all processes again, they go on from the last checkpoint"
        return None

    def _read(self) -> dict | None:
        try:
            return json.loads(self._file.read_text())
        except (OSError, ValueError):
            return None


def runs(pid: int) -> bool:
    """Whether a process of this host has not ended; one that its parent has not yet asked for has."""
    try:
        return Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def leave_now(code: int, sentence: str) -> None:
    """End this process from any thread."""
    print(f"\ntrain: {sentence}", file=sys.stderr, flush=True)
    os._exit(code)
