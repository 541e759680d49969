"""The picture of a step: what device and host did when."""

from collections.abc import Sequence
from dataclasses import dataclass

from recoder_jax.runs.directory import RunDirectory

Intervals = Sequence[tuple[float, float]]
KINDS = {'read': 'device reads', 'decode': 'device decodes', 'update': 'device learns', 'execute': 'programs run', 'judge': 'judge is asked'}
DEVICE = ('read', 'decode', 'update')


@dataclass(frozen=True)
class Track:
    """A row of the picture. bars: (left, width) in per cent of the step. seconds: in all."""

    kind: str
    label: str
    bars: tuple[tuple[float, float], ...]
    seconds: float


@dataclass(frozen=True)
class Picture:
    """A step of a run. seconds: of the step, to the end of its last interval."""

    step: int
    seconds: float
    tracks: tuple[Track, ...]


def last_picture(run: RunDirectory) -> Picture | None:
    """The picture of the last step that left a timeline; None where none did. Raises ValueError for a damaged file."""
    steps = run.timeline_steps()
    return picture_of(steps[-1], run.read_timeline(steps[-1])) if steps else None


def picture_of(step: int, intervals: dict[str, Intervals]) -> Picture | None:
    """Rows of what was done, and of the time in which the device did nothing; None for a step without intervals."""
    total = max((end for track in intervals.values() for _, end in track), default=0.0)
    if total <= 0:
        return None
    rows = {kind: intervals[kind] for kind in KINDS if intervals.get(kind)}
    rows['idle'] = gaps([interval for kind in DEVICE for interval in intervals.get(kind, ())], total)
    tracks = [
        Track(kind, KINDS.get(kind, 'device idle'), tuple((100 * a / total, 100 * (b - a) / total) for a, b in row), sum(b - a for a, b in row))
        for kind, row in rows.items()
    ]
    return Picture(step, total, tuple(tracks))


def gaps(intervals: Intervals, total: float) -> list[tuple[float, float]]:
    """What of 0 to `total` lies in no interval."""
    found, at = [], 0.0
    for begin, end in sorted(intervals):
        if begin > at:
            found.append((at, begin))
        at = max(at, end)
    return [*found, (at, total)] if at < total else found
