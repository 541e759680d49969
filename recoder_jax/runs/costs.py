"""What the steps of a run were spent on, and what they cost: arithmetic over the rows of metrics.jsonl."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
import math

PARTS = {'rollout': 'device samples', 'update': 'device learns', 'execute': 'programs', 'judge': 'judge', 'save': 'saving', 'idle': 'rest'}
_COLUMNS = 120      # of the picture; longer runs are averaged


@dataclass(frozen=True)
class Bar:
    """A part of a column: seconds a step, and where it stands, in per cent of the picture's height from the bottom."""

    kind: str
    seconds: float
    bottom: float
    height: float


@dataclass(frozen=True)
class Spending:
    """The steps of a run in columns. tallest: seconds a step of the tallest column. steps: the first and the last of each column. totals:
    (part, label, seconds a step, share) over the whole run, parts that took no time left out."""

    tallest: float
    steps: tuple[tuple[int, int], ...]
    columns: tuple[tuple[Bar, ...], ...]
    totals: tuple[tuple[str, str, float, float], ...]

    @property
    def pairs(self) -> list[tuple[tuple[int, int], tuple[Bar, ...]]]:
        return list(zip(self.steps, self.columns, strict=True))


def spending_of(rows: Sequence[Mapping[str, float]]) -> Spending | None:
    """None for a run that did not measure it. The first step of a run, which compiles, is in the totals, and does not set the scale."""
    rows = [row for row in rows if all(math.isfinite(row.get(f'time/spent_{part}', math.nan)) for part in PARTS)]
    if not rows:
        return None
    size = math.ceil(len(rows) / _COLUMNS)
    buckets = [rows[start:start + size] for start in range(0, len(rows), size)]
    means = [_seconds(bucket) for bucket in buckets]
    tallest = max(sum(mean.values()) for mean in means[min(1, len(means) - 1):])
    columns, scale = [], tallest or 1.0
    for mean in means:
        bars, bottom = [], 0.0
        for part, seconds in mean.items():
            height = min(100 * seconds / scale, 100 - bottom)
            bars.append(Bar(part, seconds, bottom, height))
            bottom += height
        columns.append(tuple(bars))
    total = _seconds(rows)
    whole = sum(total.values()) or 1.0
    totals = tuple((part, PARTS[part], seconds, seconds / whole) for part, seconds in total.items() if seconds > 0)
    return Spending(tallest, tuple((bucket[0]['step'], bucket[-1]['step']) for bucket in buckets), tuple(columns), totals)


def _seconds(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Mean seconds a step by part."""
    return {part: sum(row[f'time/spent_{part}'] for row in rows) / len(rows) for part in PARTS}


@dataclass(frozen=True)
class Cost:
    """What the recorded steps of a run cost. steps: those whose seconds and devices were recorded. device_hours: their seconds, with the
    saving between them, times the devices. money: in the unit of the rate. tokens: sampled by these steps."""

    steps: int
    device_hours: float
    money: float
    tokens: float

    @property
    def step(self) -> float:
        """Money a step; 0 without steps."""
        return self.money / self.steps if self.steps else 0.0

    @property
    def thousand_tokens(self) -> float | None:
        """Money for 1,000 sampled tokens; None where none was sampled."""
        return 1_000 * self.money / self.tokens if self.tokens else None

    def __add__(self, other: 'Cost') -> 'Cost':
        return Cost(self.steps + other.steps, self.device_hours + other.device_hours, self.money + other.money, self.tokens + other.tokens)


def cost_of(rows: Sequence[Mapping[str, float]], rate: float) -> Cost:
    """rate: what an hour of one device costs. Rows that do not say their devices or their seconds are not counted."""
    told = [row for row in rows if math.isfinite(row.get('time/step', math.nan)) and row.get('process/devices', 0) > 0]
    seconds = sum(row['process/devices'] * (row['time/step'] + row.get('time/spent_save', 0.0)) for row in told)
    return Cost(len(told), seconds / 3600, rate * seconds / 3600, sum(row.get('sampling/tokens', 0.0) for row in told))


def money(value: float | None) -> str:
    """Two decimals, four significant digits below 1; a dash for None."""
    if value is None:
        return '–'
    return f'{value:,.2f}' if value >= 1 or value == 0 else f'{value:.4g}'
