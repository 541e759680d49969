"""Metrics that merge: what several processes measured of their own groups adds up to what one process would have measured of all."""

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping


@dataclasses.dataclass(frozen=True)
class Spread:
    """Count, mean and sum of squared deviations of some values; merged as in Chan, Golub and LeVeque 1979, which keeps equal values at 0."""

    count: int
    mean: float
    squares: float

    @classmethod
    def of(cls, values: Iterable[float]) -> "Spread":
        values = [float(value) for value in values]
        mean = math.fsum(values) / max(len(values), 1)
        return cls(len(values), mean, math.fsum((value - mean) ** 2 for value in values))

    def __add__(self, other: "Spread") -> "Spread":
        count, apart = self.count + other.count, other.mean - self.mean
        share = other.count / max(count, 1)
        return Spread(count, self.mean + apart * share, self.squares + other.squares + apart**2 * self.count * share)

    @property
    def std(self) -> float:
        """Population standard deviation."""
        return math.sqrt(self.squares / self.count)


@dataclasses.dataclass(frozen=True)
class Tally:
    """Metrics by name, each in the form it can be merged from; `a + b` is the tally of both.

    means: (total, weight); shares: the same, and one that is 0 in the end has no metric. sums, maxima: as they are. spreads: standard
    deviations, of at least two values. All numbers are plain, so `dataclasses.asdict` of a tally is JSON.
    """

    means: Mapping[str, tuple[float, float]] = dataclasses.field(default_factory=dict)
    shares: Mapping[str, tuple[float, float]] = dataclasses.field(default_factory=dict)
    sums: Mapping[str, float] = dataclasses.field(default_factory=dict)
    maxima: Mapping[str, float] = dataclasses.field(default_factory=dict)
    spreads: Mapping[str, Spread] = dataclasses.field(default_factory=dict)

    def __add__(self, other: "Tally") -> "Tally":
        def pairs(a, b):
            return a[0] + b[0], a[1] + b[1]

        return Tally(
            _merged(self.means, other.means, pairs), _merged(self.shares, other.shares, pairs),
            _merged(self.sums, other.sums, lambda a, b: a + b), _merged(self.maxima, other.maxima, max),
            _merged(self.spreads, other.spreads, lambda a, b: a + b),
        )  # fmt: skip

    @classmethod
    def of(cls, plain: Mapping[str, Mapping]) -> "Tally":
        """The tally that `dataclasses.asdict` made plain, perhaps by way of JSON."""
        return cls(**{**plain, "spreads": {name: Spread(**spread) for name, spread in plain["spreads"].items()}})

    def values(self) -> dict[str, float]:
        """The metrics. A mean over nothing and a spread of fewer than two values are left out."""
        found = {name: total / weight for name, (total, weight) in self.means.items() if weight}
        found |= {name: total / weight for name, (total, weight) in self.shares.items() if weight and total}
        found |= {name: float(value) for name, value in (self.sums | self.maxima).items()}
        return found | {name: spread.std for name, spread in self.spreads.items() if spread.count > 1}


def mean(values: Iterable[float]) -> tuple[float, float]:
    """(total, weight) of values that weigh the same."""
    values = [float(value) for value in values]
    return math.fsum(values), float(len(values))


def _merged(one: Mapping, other: Mapping, merge: Callable) -> dict:
    return {**one, **{name: merge(one[name], value) if name in one else value for name, value in other.items()}}
