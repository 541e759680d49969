"""When the device works: spans of calls, stamped as their results arrive."""

import dataclasses
import time
from concurrent.futures import ThreadPoolExecutor

import jax

DEVICE, HOST = ("read", "decode"), ("execute", "judge")  # kinds of spans


@dataclasses.dataclass(frozen=True)
class Span:
    """kind: what ran. begin, end: seconds of `time.perf_counter`."""

    kind: str
    begin: float
    end: float


class Timeline:
    """Spans of a rollout. Calls on the device run one after the other: each begins when it was dispatched, or when the one before ended."""

    def __init__(self):
        self.spans: list[Span] = []
        self._watcher, self._last = ThreadPoolExecutor(1), 0.0

    def watch(self, kind: str, result: jax.Array) -> None:
        """Note the span of a call that was just dispatched and will bring `result`, which no later call takes over."""
        self._watcher.submit(self._stamp, kind, time.perf_counter(), result)

    def _stamp(self, kind: str, dispatched: float, result: jax.Array) -> None:
        result.block_until_ready()
        ended = time.perf_counter()
        self.spans.append(Span(kind, max(dispatched, self._last), ended))
        self._last = ended

    def note(self, kind: str, began: float) -> None:
        """Note something of the host that began at `began` and ends now."""
        self.spans.append(Span(kind, began, time.perf_counter()))

    def close(self) -> list[Span]:
        """All spans, in order of their beginning."""
        self._watcher.shutdown()
        return sorted(self.spans, key=lambda span: span.begin)


def covered(spans: list[Span], *kinds: str) -> list[tuple[float, float]]:
    """Intervals in which something of `kinds` was going on, apart from each other and in order."""
    merged: list[tuple[float, float]] = []
    for span in sorted((span for span in spans if span.kind in kinds), key=lambda span: span.begin):
        if merged and span.begin <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(merged[-1][1], span.end)
        else:
            merged.append((span.begin, span.end))
    return merged


def tracks(spans: list[Span], begin: float) -> dict[str, list[tuple[float, float]]]:
    """Intervals by kind, in seconds from `begin`, those of a kind apart from each other and in order."""
    kinds = dict.fromkeys(span.kind for span in spans)
    return {kind: [(start - begin, end - begin) for start, end in covered(spans, kind)] for kind in kinds}


LAYERS = (("rollout", DEVICE), ("update", ("update",)), ("execute", ("execute",)), ("judge", ("judge",)))


def spent(spans: list[Span], begin: float, end: float) -> dict[str, float]:
    """What the seconds from `begin` to `end` were spent on, each second once: the device's work first; programs and judge only as far as the
    device did nothing meanwhile; `idle`, as far as none of it went on. All spans lie between the two."""
    found, kinds, before = {}, (), 0.0
    for name, more in LAYERS:
        kinds += more
        now = seconds(covered(spans, *kinds))
        found[name], before = now - before, now
    return found | {"idle": max(0.0, end - begin - before)}


def seconds(intervals: list[tuple[float, float]]) -> float:
    return sum(end - begin for begin, end in intervals)


def overlap(one: list[tuple[float, float]], other: list[tuple[float, float]]) -> float:
    """Seconds that lie in both; each list's intervals are apart from each other and in order."""
    total, at = 0.0, 0
    for begin, end in one:
        while at < len(other) and other[at][1] <= begin:
            at += 1
        here = at
        while here < len(other) and other[here][0] < end:
            total += min(end, other[here][1]) - max(begin, other[here][0])
            here += 1
    return total
