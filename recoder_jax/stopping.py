"""Being told to stop: the signals of a scheduler or a user, and jax's notice that machines are taken away."""

import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType

import jax
from orbax.checkpoint.utils import reached_preemption

from recoder_jax.doors import AGAIN, Ended
from recoder_jax.processes import agreed

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopRequest:
    """While it is entered, the first SIGTERM or SIGINT is noted, for a caller that looks between two steps; a second one ends the process at
    once. Elsewhere than in the main thread no signal is taken."""

    def __init__(self):
        self._caught = ""
        self._before: dict[int, Callable | int | None] = {}

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(self, *_) -> None:
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)  # None: one that was not set from Python

    def reached(self, step: int) -> str:
        """Why the run stops after `step` updates, '' if it goes on; in all processes at the same step."""
        preempted = jax.process_count() > 1 and reached_preemption(step)
        if not agreed(bool(self._caught)) and not preempted:
            return ""
        return self._caught or ("the machines are taken away" if preempted else "another process was told to")

    def _note(self, number: int, frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        if self._caught:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        self._caught = name
        os.write(sys.__stderr__.fileno(), f"\n{name}: stops after the running step; once more ends it at once\n".encode())  # print may be under way


def leave(step: int, reason: str, saved: bool) -> None:
    """End the run so that a launcher starts it again."""
    kept = "its checkpoint is written" if saved else "it had nothing to save"
    raise Ended(f"stopped at step {step} ({reason}); {kept}; the same command goes on", AGAIN)
