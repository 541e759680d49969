"""What the host knows of the trees on their places, of the rows on their seats, and of the tokens that wait to be read for them."""

import collections
import dataclasses
from collections.abc import Collection, Iterator

import numpy as np

from recoder_jax.dialogue.encoder import Tokens
from recoder_jax.sampling.drawing import Controls
from recoder_jax.sampling.layout import Size

PATIENCE = 8  # chunks after which waiting tokens are read though their call is not full


@dataclasses.dataclass(eq=False)
class Request:
    """A tree to be said. identity: seed, step and chart. tokens: cap of a response. rows: branches; shared: turns said once before them."""

    prompt: Tokens
    identity: tuple[int, int, int]
    tokens: int
    rows: int = 1
    shared: int = 0
    controls: Controls = Controls()


@dataclasses.dataclass(eq=False)
class Row:
    """A row and the response it is at.

    index: of its seat, which it keeps while it is not gone. turn: from 1. length: suffix slots taken before the response. position: M-RoPE position of its first token. tokens, logprobs: of it, by
    chunk, `count` of them. speaks: is not known to have ended. gone: says nothing more.
    """

    index: int
    turn: int
    length: int
    position: int
    speaks: bool = True
    gone: bool = False
    tokens: list[np.ndarray] = dataclasses.field(default_factory=list)
    logprobs: list[np.ndarray] = dataclasses.field(default_factory=list)
    count: int = 0

    def add(self, tokens: np.ndarray, logprobs: np.ndarray) -> None:
        self.tokens.append(tokens)
        self.logprobs.append(logprobs)
        self.count += len(tokens)

    def cut(self, count: int) -> None:
        """Keep the first `count` tokens."""
        tokens, logprobs = self.said()
        self.tokens, self.logprobs, self.count = [tokens[:count]], [logprobs[:count]], min(count, len(tokens))

    def said(self) -> tuple[np.ndarray, np.ndarray]:
        """Tokens int32 [n] and log probabilities float32 [n] of the response so far."""
        nothing = np.zeros(0, np.int32), np.zeros(0, np.float32)
        return np.concatenate([nothing[0], *self.tokens]), np.concatenate([nothing[1], *self.logprobs])


@dataclasses.dataclass(eq=False)
class Place:
    """A tree where it is played. prefix: slots taken. rows: one while turns are shared."""

    index: int
    request: Request
    prefix: int
    rows: list[Row]

    @property
    def shares(self) -> bool:
        """Whether the turn it is at is said once for all rows."""
        return self.rows[0].turn <= self.request.shared


class Standing:
    """Trees on places, or rows on seats, by number: `index` of each. The numbers are split evenly over `shards`."""

    def __init__(self, count: int, shards: int):
        self.each = count // shards
        self._items: list[Place | Row | None] = [None] * count

    def __iter__(self) -> Iterator[Place | Row]:
        return (item for item in self._items if item)

    def free(self) -> list[int]:
        return [n for n, item in enumerate(self._items) if item is None]

    def free_beside(self, other: int, of: "Standing") -> int:
        """The first free number on the shard of number `other` of another standing."""
        begin = other // of.each * self.each
        return next(n for n in range(begin, begin + self.each) if self._items[n] is None)

    def put(self, item: Place | Row) -> None:
        """In place of what stood there."""
        self._items[item.index] = item

    def leave(self, item: Place | Row) -> None:
        """Free its number, unless another stands there by now."""
        if self._items[item.index] is item:
            self._items[item.index] = None

    def fullest(self, wanted: Collection[int]) -> int:
        """Most of the numbers that one shard has."""
        return max(collections.Counter(n // self.each for n in wanted).values())

    def bring_forward(self, wanted: Collection[int], first: int) -> list[tuple[int, int]]:
        """Let those on the numbers `wanted` stand on the `first` of their shards; the pairs of numbers that change with each other."""
        taken, pairs = set(wanted), []
        for n in sorted(n for n in wanted if n % self.each >= first):
            begin = n // self.each * self.each
            other = next(m for m in range(begin, begin + first) if m not in taken)
            taken.add(other)
            pairs.append((n, other))
            self._items[n], self._items[other] = self._items[other], self._items[n]
            for m in (n, other):
                if self._items[m]:
                    self._items[m].index = m
        return pairs


@dataclasses.dataclass(eq=False)
class Waiting:
    """Tokens to be read: a prompt, which has no place yet, or feedback for a row. since: chunk at which they came."""

    piece: Tokens
    size: Size
    since: int
    request: Request
    place: Place | None = None
    row: int = 0

    @property
    def kind(self) -> str:
        """Which function reads them."""
        if self.place is None:
            return "start"
        return "proceed" if self.place.shares else "append"


@dataclasses.dataclass(frozen=True)
class Space:
    """Where trees could go. places: free ones, in order. seats: of each shard, that are promised to no tree."""

    places: list[int]
    seats: list[int]

    def copy(self) -> "Space":
        return Space(list(self.places), list(self.seats))


class Queue:
    """Waiting tokens, and which of them are read next.

    A call reads tokens of one kind and one padded size. Each lane lies on some devices and serves places of these only: lanes and places
    are split evenly over `shards`.
    """

    def __init__(self, lanes: int, places: int, shards: int):
        self._lanes, self._each, self._share = lanes, lanes // shards, places // shards
        self._waiting: list[Waiting] = []

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, item: Waiting) -> None:
        self._waiting.append(item)

    def drop(self, request: Request) -> None:
        self._waiting = [item for item in self._waiting if item.request is not request]

    def readable(self, space: Space) -> bool:
        """Whether something could be read."""
        return any(item.place is not None or any(space.seats[n // self._share] >= item.request.rows for n in space.places) for item in self._waiting)

    def next_call(self, space: Space, speaking: int, now: int) -> list[tuple[Waiting, int] | None]:
        """What a call reads: for each lane an item and its place, or nothing. Empty where no call is worth it: one is, when it is full, when
        as many wait as rows speak, when it has all prompts of its size, or when one waited long."""
        best, order = [], None
        for call, all_prompts in self._calls(space):
            items = [lane[0] for lane in call if lane]
            late = min(item.since for item in items) + PATIENCE <= now
            worth = late or all_prompts or len(items) >= min(self._lanes, max(1, speaking))
            if worth and (order is None or (late, len(items)) > order):
                best, order = call, (late, len(items))
        chosen = {id(lane[0]) for lane in best if lane}
        self._waiting = [item for item in self._waiting if id(item) not in chosen]
        return best

    def _calls(self, space: Space) -> list[tuple[list[tuple[Waiting, int] | None], bool]]:
        """All calls that could be made, as full as they get, in order of waiting, and whether one takes all prompts of its size. Each could
        take any of the free places and seats."""
        calls, spaces, waiting = {}, {}, collections.Counter()
        for item in self._waiting:
            key = item.kind, item.size
            waiting[key] += 1
            lanes = calls.setdefault(key, [None] * self._lanes)
            left = spaces.setdefault(key, space.copy())
            for index in left.places if item.place is None else [item.place.index]:
                shard = index // self._share
                lane = next((n for n in range(shard * self._each, (shard + 1) * self._each) if lanes[n] is None), None)
                if lane is not None and (item.place is not None or left.seats[shard] >= item.request.rows):
                    lanes[lane] = item, index
                    if item.place is None:
                        left.places.remove(index)
                        left.seats[shard] -= item.request.rows
                    break
        found = [(key, lanes, sum(lane is not None for lane in lanes)) for key, lanes in calls.items()]
        return [(lanes, key[0] == "start" and count == waiting[key]) for key, lanes, count in found if count]
