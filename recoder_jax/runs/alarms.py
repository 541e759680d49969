"""What somebody should look at while a run goes on, in words: rules over the rows of metrics.jsonl.

A rule looks at the last `window` steps, most compare them with earlier windows of the run, and gives a level and a sentence. Its alarm is
given when the level reaches 1, and given again only after it was over meanwhile. A rule says nothing where a metric it needs was not
measured. All of it is a function of the rows, so a resumed run rebuilds its alarms from the rows that stand.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
import math
from typing import Protocol

import numpy as np

from recoder_jax.runs.records import AlarmRecord

REACH = 50  # windows a rule looks back
NOISE = 5.0  # standard errors by which the means of two windows must differ: many windows are compared, and the extreme one is taken
ACTIONS = ('off', 'say', 'stop')


@dataclass(frozen=True)
class Choices:
    """What each alarm does, one of ACTIONS; window: steps whose mean is looked at."""

    window: int = 20
    repeat: str = 'say'
    sandbagging: str = 'say'
    format: str = 'say'
    judge: str = 'say'
    gap: str = 'say'
    entropy: str = 'say'
    equal_groups: str = 'say'
    tampering: str = 'say'


class History:
    """The metrics of the last steps. A step that lacks a metric, or in which it was not finite, counts in no window of that metric.

    turns: of the dialogues, as far as rewards by turn were measured.
    """

    def __init__(self, window: int):
        self.window, self.turns = window, 0
        self._reach = REACH * window
        self._held: dict[str, np.ndarray] = {}      # [2 * reach, 2], filled from the front; the older half is dropped when it is full
        self._count: dict[str, int] = {}

    def add(self, row: Mapping[str, float]) -> None:
        for name, value in row.items():
            if name != 'step' and np.isfinite(value):
                self._append(name, row['step'], value)
        self.turns = max([self.turns, *(int(name[4:-6]) for name in row if name.startswith('turn') and name.endswith('/total'))])

    def _append(self, name: str, step: int, value: float) -> None:
        held, count = self._held.setdefault(name, np.empty((2 * self._reach, 2))), self._count.get(name, 0)
        if count == len(held):
            held[:self._reach], count = held[self._reach:], self._reach
        held[count] = step, value
        self._count[name] = count + 1

    def series(self, name: str) -> np.ndarray:
        """[N, 2]: (step, value) of the last steps of a metric."""
        count = self._count.get(name, 0)
        return self._held[name][max(0, count - self._reach):count] if count else np.empty((0, 2))


@dataclass(frozen=True)
class Reading:
    """What a rule finds. level: the alarm is given from 1. rest: it is over below the rule's `calm`; the level, or what the level would be
    without noise, which is estimated anew at every step. sentence: what was measured, over which steps, and what to look at."""

    level: float
    rest: float
    sentence: str


class Rule(Protocol):
    """name: of the alarm. calm: the alarm is over when a reading's rest is below."""

    name: str
    calm: float

    def metrics(self, turns: int) -> tuple[str, ...]:
        """What it looks at, in dialogues of so many turns."""

    def read(self, history: History) -> Reading | None:
        """None where too little was measured."""


@dataclass(frozen=True)
class Window:
    """A mean over consecutive steps."""

    mean: float
    first: int
    last: int

    def __str__(self):
        return f'steps {self.first} to {self.last}'


def windows_of(series: np.ndarray, size: int) -> np.ndarray:
    """Means of all windows of `size` consecutive values, [N - size + 1]; the last one is that of the newest."""
    sums = np.concatenate([[0.0], np.cumsum(series[:, 1] - series[0, 1])])
    return (sums[size:] - sums[:-size]) / size + series[0, 1]


def window_at(series: np.ndarray, size: int, start: int) -> Window:
    part = series[start:start + size]
    return Window(float(part[:, 1].mean()), int(part[0, 0]), int(part[-1, 0]))


def noise_of(series: np.ndarray, size: int) -> float:
    """What the means of two windows may differ by without meaning anything: NOISE standard errors.

    Variance and correlation are those of first-order autoregressive noise, from differences over one and two steps: E (x_t - x_{t-k})^2 =
    2 sigma^2 (1 - rho^k). Their medians, taken off their own median, hardly see a trend or a jump.
    """
    values = series[:, 1]
    steps = [values[lag:] - values[:-lag] for lag in (1, 2)]
    near, far = (float(np.median((step - np.median(step)) ** 2)) / 0.455 for step in steps)      # 0.455: median of a squared normal variable
    if near <= 0:
        return 0.0
    rho = min(max(far / near - 1, 0.0) + 1 / math.sqrt(len(values)), 0.95)      # one standard error more
    variance = near / (2 * (1 - rho)) * min(1.0, (1 + rho) / (1 - rho) / size)
    return NOISE * math.sqrt(2 * variance)


@dataclass(frozen=True)
class Drift:
    """A mean that has moved away from the best window of the run, up (direction 1) or down (-1), by at least `least` and beyond noise."""

    name: str
    metric: str
    direction: int
    least: float
    words: str
    advice: str
    calm: float = 0.5

    def metrics(self, turns: int) -> tuple[str, ...]:
        return (self.metric,)

    def read(self, history: History) -> Reading | None:
        series, size = history.series(self.metric), history.window
        if len(series) < 2 * size:
            return None
        before = int(np.argmin(self.direction * windows_of(series, size)[:-size]))
        best, now = window_at(series, size, before), window_at(series, size, len(series) - size)
        moved = self.direction * (now.mean - best.mean)
        level = moved / max(self.least, noise_of(series, size))
        return Reading(level, moved / self.least, f'{self.words} from {best.mean:.3g} ({best}) to {now.mean:.3g} ({now}); {self.advice}')


@dataclass(frozen=True)
class Sandbagging:
    """The reward of turn 1 falls from its best window by `fall`, beyond noise, and that of the last turn does not follow: it rises, or loses less than a
    fourth as much. The turns come apart by `apart`, beyond the noise of both.

    That the last turn rises is not asked for. Under eta 0.1 the tiny policy once let its first turn fall from 57 points to 3 for the bonus, and its last
    turn held (docs/findings.md)."""

    fall: float = 0.1
    apart: float = 0.1
    name: str = 'sandbagging'
    calm: float = 0.5

    def metrics(self, turns: int) -> tuple[str, ...]:
        return ('turn1/total', f'turn{turns}/total')

    def read(self, history: History) -> Reading | None:
        if history.turns < 2:
            return None
        first, last = map(history.series, self.metrics(history.turns))
        size, turn = history.window, history.turns
        if len(first) < 2 * size or len(first) != len(last):
            return None
        before, end = int(np.argmax(windows_of(first, size)[:-size])), len(first) - size
        (one, now_one), (other, now_other) = ([window_at(series, size, start) for start in (before, end)] for series in (first, last))
        fallen, risen = one.mean - now_one.mean, now_other.mean - other.mean
        alone, noise = fallen + 4 * min(risen, 0.0), noise_of(first, size)
        level = min(alone / max(self.fall, noise), (fallen + risen) / max(self.apart, noise, noise_of(last, size)))
        return Reading(level, min(alone / self.fall, (fallen + risen) / self.apart), (
            f'the reward of turn 1 fell from {one.mean:.3g} ({one}) to {now_one.mean:.3g} ({now_one}) while that of turn {turn} went from {other.mean:.3g} '
            f'to {now_other.mean:.3g}: the first turn may be spoilt to be corrected; look at first programs, and at rollout.eta and rollout.gamma'))


@dataclass(frozen=True)
class Constant:
    """The judge says one value: the spread of its scores in a step is below `floor` on average."""

    floor: float = 0.01
    name: str = 'judge'
    calm: float = 0.5

    def metrics(self, turns: int) -> tuple[str, ...]:
        return ('judge/spread',)

    def read(self, history: History) -> Reading | None:
        series, size = history.series('judge/spread'), history.window
        if len(series) < size:
            return None
        now = window_at(series, size, len(series) - size)
        level = self.floor / max(now.mean, 1e-9)
        return Reading(level, level, (
            f"the judge's scores of a step differ by {now.mean:.2g} (mean standard deviation, {now}), so its part teaches nothing; "
            'look at its replies, and at reward/model and judge/cached'))


@dataclass(frozen=True)
class Jump:
    """The gap between the sampler's and the trainer's log probabilities: the median of the last 3 steps is `times` that of all steps
    before, and at least `least` nats a token. One step alone does not count."""

    times: float = 5.0
    least: float = 1e-3
    name: str = 'gap'
    calm: float = 0.5

    def metrics(self, turns: int) -> tuple[str, ...]:
        return ('sampling/logprob_gap',)

    def read(self, history: History) -> Reading | None:
        series, size = history.series('sampling/logprob_gap'), history.window
        if len(series) < size + 3:
            return None
        usual, now = float(np.median(series[:-3, 1])), float(np.median(series[-3:, 1]))
        level = now / max(self.times * usual, self.least)
        return Reading(level, level, (
            f'the gap between the log probabilities of sampler and trainer is {now:.2g} nats a token (median of steps {series[-3, 0]:.0f} to '
            f'{series[-1, 0]:.0f}), {now / max(usual, 1e-12):.3g} times its median before ({usual:.2g}); look at what changed between sampler and update: '
            'weights handed over, numerics, lengths'))


@dataclass(frozen=True)
class Collapse:
    """Entropy below `share` of its highest window."""

    share: float = 0.25
    name: str = 'entropy'
    calm: float = 0.75

    def metrics(self, turns: int) -> tuple[str, ...]:
        return ('loss/entropy',)

    def read(self, history: History) -> Reading | None:
        series, size = history.series('loss/entropy'), history.window
        if len(series) < 2 * size:
            return None
        high = window_at(series, size, int(np.argmax(windows_of(series, size)[:-size])))
        now = window_at(series, size, len(series) - size)
        level = self.share * high.mean / max(now.mean, 1e-9)
        return Reading(level, level, (
            f'the entropy of the policy fell from {high.mean:.3g} ({high}) to {now.mean:.3g} nats a token ({now}); '
            'look at how alike the dialogues of a group are, and at optimizer.learning_rate and objective.clip_high'))


@dataclass(frozen=True)
class Vanishing:
    """The rewards within groups are equal in at least `share` of the groups."""

    share: float = 0.9
    name: str = 'equal_groups'
    calm: float = 0.9

    def metrics(self, turns: int) -> tuple[str, ...]:
        return ('reward/equal_groups',)

    def read(self, history: History) -> Reading | None:
        series, size = history.series('reward/equal_groups'), history.window
        if len(series) < size:
            return None
        now, reward = window_at(series, size, len(series) - size), history.series('reward/total')
        height = '' if len(reward) < size else f' at a mean reward of {reward[-size:, 1].mean():.3g}'
        return Reading(now.mean / self.share, now.mean / self.share, (
            f'all rewards are equal in {100 * now.mean:.0f} % of the groups ({now}){height}, and such groups teach nothing; '
            'look for harder charts where the reward is high, easier ones where it is low'))


RULES: tuple[Rule, ...] = (
    Drift('repeat', 'correction/repeat_rate', 1, 0.15, 'the repeat rate rose',
          'the last turn copies the first; look at dialogues tagged repeated, and at rollout.eta'),
    Sandbagging(),
    Drift('format', 'reward/format', -1, 0.2, 'the format reward of the last turn fell',
          'responses are no longer one thought and one program; look at their text and at sampling/truncated'),
    Constant(), Jump(), Collapse(), Vanishing(),
)


class Alarms:
    """The alarms of a run, fed with its rows in order. rows: those that stand already; what they set off is not given again.

    passed: alarms that ended the run earlier, (step, name); they are given, and end it no more.
    """

    def __init__(self, choices: Choices, rows: Sequence[Mapping[str, float]] = (), passed: frozenset[tuple[int, str]] = frozenset()):
        self._choices, self._passed = choices, passed
        self._rules = [rule for rule in RULES if getattr(choices, rule.name) != 'off']
        self._history, self._active = History(choices.window), set()
        for row in rows:
            self.see(row)

    def see(self, row: Mapping[str, float], tampering: Sequence[str] = ()) -> list[AlarmRecord]:
        """The alarms that begin with this row, {'step': ..., name: value}. tampering: sentences of the step itself, each an alarm."""
        self._history.add(row)
        found = [self._record(row['step'], 'tampering', sentence) for sentence in tampering if self._choices.tampering != 'off']
        for rule in self._rules:
            reading = rule.read(self._history)
            if reading is None:
                continue
            if reading.level >= 1 and rule.name not in self._active:
                self._active.add(rule.name)
                found.append(self._record(row['step'], rule.name, reading.sentence))
            elif reading.rest < rule.calm:
                self._active.discard(rule.name)
        return found

    def _record(self, step: int, name: str, sentence: str) -> AlarmRecord:
        return AlarmRecord(step, name, sentence, getattr(self._choices, name) == 'stop' and (step, name) not in self._passed)


def metrics_of(alarm: str, turns: int) -> tuple[str, ...]:
    """Metrics an alarm looks at, for marks on their curves; none for an unknown name."""
    rules = {rule.name: rule.metrics(turns) for rule in RULES} | {'tampering': ('sandbox/tampered',)}
    return rules.get(alarm, ())
