"""Hosts that the others wait for, by name. All processes of a run make a step together, so their steps take equally long; what differs is the part
that each does alone: playing its charts, or reading its examples."""

import socket
import statistics
from collections.abc import Callable, Sequence

from recoder_jax.processes import gathered

FACTOR = 1.5  # times the median from which a process lags
SHARE = 0.1  # and by at least this share of a step, or a difference of milliseconds would count


class Lag:
    """Compares the processes over every `every` steps; all of them call `note` at every step. gather: what a process tells, from all of them."""

    def __init__(self, every: int = 10, gather: Callable[[list], list] = gathered):
        self._every, self._gather, self._own, self._steps = every, gather, [], []

    def note(self, step: int, own: float, seconds: float) -> list[str]:
        """own: seconds of step number `step` that this process worked alone. seconds: of the whole step. Returns a sentence for each process that
        lagged since the last comparison, the same in all processes."""
        self._own.append(own)
        self._steps.append(seconds)
        if step % self._every:
            return []
        told = self._gather([socket.gethostname(), statistics.fmean(self._own)])
        found = laggards([(host, mean) for host, mean in told], statistics.fmean(self._steps))
        self._own, self._steps = [], []
        return found


def laggards(processes: Sequence[tuple[str, float]], step: float) -> list[str]:
    """A sentence for each process that the others wait for. processes: host and mean seconds of its own work a step, in their order. step: mean
    seconds of a step. The median is the lower one, so that of two processes the faster one is the measure."""
    usual = statistics.median_low(mean for _, mean in processes)
    return [
        f"process {number} on {host} works {mean:.1f} s a step alone, {mean / max(usual, 1e-3):.1f} times the median of {usual:.1f} s, and the others wait; "
        "look at what else runs there"
        for number, (host, mean) in enumerate(processes)
        if mean > FACTOR * usual and mean - usual > SHARE * step
    ]
