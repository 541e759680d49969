"""The engine: trees of dialogues on a fixed number of places and seats, decoded in chunks; what ended leaves, what waits enters in between.

    submit ──► waiting prompts ──► read ──► rows speak ──► step() tells who ended ──► feed ──► waiting feedback ──► read ──► rows speak ──► ...
                                                                                └──► release: its seat is free, and at last its place

One chunk is always in flight: `step` dispatches the next chunk before it collects the one before, so the device works while the host
looks at what was said. Nothing here knows programs or rewards: `rollout.play` and `serving` drive it.

What a row says is a function of its identity (seed, step, chart, branch, turn) and its dialogue. The seat, the chunk length and the rows
beside it do not change its tokens: keys do not depend on them, calls have a fixed number of lanes, and lanes of one call one padded size.
What they change is the order of sums: beyond 512 slots, since a call reads as many slots as the fullest row beside it needs
(`Sampler.bound`), and where the sampler is `narrow`, since a product of few rows may sum in another order than one of many.

Axes: A lanes, C places, N seats, R rows of a tree, n and c the first seats and places that a chunk has.
"""

import dataclasses
import functools
from typing import NamedTuple

import jax
import numpy as np

from recoder_jax.dialogue.encoder import Tokens
from recoder_jax.sampling.budget import check_memory
from recoder_jax.sampling.cache import Lanes, Pairs, Seating
from recoder_jax.sampling.decode import Chunk
from recoder_jax.sampling.drawing import Controls
from recoder_jax.sampling.functions import Room, Sampler
from recoder_jax.sampling.layout import given, given_places, size_of
from recoder_jax.sampling.places import Place, Queue, Request, Row, Space, Standing, Waiting
from recoder_jax.sampling.timeline import Timeline
from recoder_jax.sharding import placement


@dataclasses.dataclass(frozen=True, eq=False)
class Said:
    """A response that ended. row: from 0. turn: from 1. tokens: int32 [n], the end token included. logprobs: float32 [n], under the full
    distribution at temperature 1. ended: false where it was cut."""

    request: Request
    row: int
    turn: int
    tokens: np.ndarray
    logprobs: np.ndarray
    ended: bool


class Speaker(NamedTuple):
    """Row `number` of a tree, which speaks in a chunk as number `at` of it."""

    place: Place
    number: int
    row: Row
    at: int


class Engine:
    """Plays requests on a sampler's functions, with the parameters that `sampler.load` made. The cache lives as long as the engine.
    timeline: is told when the device works.

    Raises ValueError for a room that does not lie evenly over the devices, or for which they have no memory.
    """

    def __init__(self, sampler: Sampler, params, room: Room, timeline: Timeline | None = None):
        shards = sampler.shards
        if room.places % shards or room.lanes % shards or room.seats % shards or room.seats < shards * room.rows:
            raise ValueError(f"{room.places} places, {room.seats} seats and {room.lanes} lanes do not lie evenly over {shards} devices of the mesh's data and "
                             f"fsdp axes, each with seats for {room.rows} rows; choose multiples")  # fmt: skip
        check_memory(room, sampler)
        self.sampler, self.room, self._timeline = sampler, room, timeline
        self._params, (self._prefix, self._rows) = params, sampler.caches(room)
        self._places, self._seats = Standing(room.places, shards), Standing(room.seats, shards)
        self._at: dict[Request, Place] = {}
        self._queue, self._now = Queue(room.lanes, room.places, shards), 0
        self._flight: list[tuple[Chunk, list[Speaker]]] = []  # chunks on the device, and who speaks in them

    def submit(self, request: Request) -> None:
        """Queue a tree. Raises ValueError for one that the room cannot hold."""
        room, size, controls = self.room, size_of(request.prompt, self.sampler.buckets), request.controls
        controls.check()
        slots = room.shared_slots if request.shared else room.suffix
        for holds, sentence in (
            (1 <= request.rows <= room.rows, f"{request.rows} rows are asked for, but a place has {room.rows}; ask for 1 to {room.rows}"),
            (size.tokens <= room.prefix, f"a prompt of {len(request.prompt)} tokens does not fit {room.prefix} prefix slots; shorten it"),
            (1 <= request.tokens <= slots - room.chunk, f"a response of {request.tokens} tokens does not fit; ask for 1 to {slots - room.chunk}"),
            (controls.penalty == 1 or room.penalised, f"penalty is {controls.penalty}, but the engine was opened without repetition penalties"),
        ):
            if not holds:
                raise ValueError(sentence)
        self._queue.add(Waiting(request.prompt, size, self._now, request))

    def feed(self, request: Request, row: int, piece: Tokens) -> None:
        """Read feedback behind what a row said, and let it go on; in a shared turn, `row` is 0. Raises ValueError where it finds no room."""
        place, size = self._at[request], size_of(piece, self.sampler.buckets)
        one, room = place.rows[row], self.room
        taken, slots = (place.prefix + one.count, room.prefix) if place.shares else (one.length + one.count, room.suffix)
        if taken + size.tokens > slots or place.shares and place.prefix + room.shared_slots > slots:
            raise ValueError(f"feedback of {len(piece)} tokens does not fit: {taken} of {slots} slots are taken; raise the cap of a feedback")
        self._queue.add(Waiting(piece, size, self._now, request, place, row))

    def release(self, request: Request, row: int) -> None:
        """A row says nothing more. In a shared turn the whole tree ends."""
        place = self._at[request]
        place.rows[row].gone = True
        self._seats.leave(place.rows[row])
        if all(one.gone for one in place.rows):
            self._places.leave(place)
            del self._at[request]

    def stop(self, request: Request, row: int, keep: int | None = None) -> Said:
        """Cut a row that speaks after `keep` of the tokens that `spoken` gives, or after all of them: no later `step` tells of this response.
        Then feed or release it."""
        place = self._at[request]
        one = place.rows[row]
        one.speaks = False
        if keep is not None:
            one.cut(keep)
        return Said(request, row, one.turn, *one.said(), False)

    def speaking(self) -> list[tuple[Request, int]]:
        """Rows that are not known to have ended, with their requests."""
        return [(place.request, number) for place in self._places for number, row in enumerate(place.rows) if row.speaks]

    def cancel(self, request: Request) -> None:
        """Forget a tree, wherever it stands."""
        self._queue.drop(request)
        place = self._at.get(request)
        for number, row in enumerate(place.rows if place else ()):
            if row.speaks:
                self.stop(request, number)
            if not row.gone:
                self.release(request, number)

    def spoken(self, request: Request, row: int) -> tuple[np.ndarray, np.ndarray]:
        """Tokens and log probabilities of the response that a row is at, as far as they were collected; empty before it begins."""
        place = self._at.get(request)
        return (place.rows[row] if place and row < len(place.rows) else Row(0, 1, 0, 0)).said()

    @property
    def busy(self) -> bool:
        """Whether `step` has something to do."""
        return self.flying or self._speaking() > 0 or self._queue.readable(self._space())

    @property
    def flying(self) -> bool:
        """Whether a chunk is on the device."""
        return bool(self._flight)

    def step(self, hold: bool = False) -> list[Said]:
        """Read what waits, dispatch the next chunk, and return the responses that ended in the chunk before it.

        hold: the host is behind, so more rows come only as it catches up: rows wait while less than half of those that could speak do. A
        row of few costs more than one of many, and where host and device are one machine it takes the host's time.
        """
        while call := self._queue.next_call(self._space(), self._speaking(), self._now):
            self._read(call)
        before, self._flight = self._flight, self._dispatch(hold)
        self._now += 1
        return [said for chunk, speakers in before for said in self._collect(chunk, speakers)]

    def _space(self) -> Space:
        """Places and seats for trees that wait: a tree is promised the seats of all its rows, until they are gone."""
        seats = [self._seats.each] * self.sampler.shards
        for place in self._places:
            seats[place.index // self._places.each] -= place.request.rows if place.shares else sum(not row.gone for row in place.rows)
        return Space(self._places.free(), seats)

    # decoding

    def _speaking(self) -> int:
        return sum(row.speaks for row in self._seats)

    def _could_speak(self) -> int:
        """Rows of trees that are not over, those that wait or are to come included."""
        return sum(place.request.rows if place.shares and not place.rows[0].speaks else sum(not row.gone for row in place.rows) for place in self._places)

    def _dispatch(self, hold: bool) -> list[tuple[Chunk, list[Speaker]]]:
        """A chunk of the rows that speak and that the chunk in flight does not cut."""
        flying = {id(one.row) for _, speakers in self._flight for one in speakers}
        rows = [
            (place, number, row)
            for place in self._places for number, row in enumerate(place.rows)
            if row.speaks and row.count + (self.room.chunk if id(row) in flying else 0) < place.request.tokens
        ]  # fmt: skip
        if hold and 2 * len(rows) < self._could_speak():
            return []
        kinds = [rows] if self.sampler.narrow else [[row for row in rows if row[0].shares == shared] for shared in (True, False)]
        return [self._decode(rows) for rows in kinds if rows]

    def _decode(self, rows: list[tuple[Place, int, Row]]) -> tuple[Chunk, list[Speaker]]:
        """A chunk of these rows; who speaks in it."""
        room, shared = self.room, all(place.shares for place, *_ in rows)
        held = max(row.length + row.count for *_, row in rows) + room.chunk
        bounds = self._prefix_bound(), self.sampler.bound(held, room.shared_slots if shared else room.suffix)
        filtered = any(place.request.controls.filtered for place, *_ in rows)
        seating, speakers = self._seated(rows, shared)
        self._rows, chunk = self.sampler.functions.decode(
            self._params, self._prefix, self._rows, seating, steps=room.chunk, bounds=bounds, filtered=filtered
        )
        if self._timeline:
            self._timeline.watch("decode", chunk.count)
        return chunk, speakers

    def _seated(self, rows: list[tuple[Place, int, Row]], shared: bool) -> tuple[Seating, list[Speaker]]:
        """Bring rows and their places to the front of their devices; who sits where in the chunk."""
        places, seats, most, shards = self._places, self._seats, 1 if shared else self.room.rows, self.sampler.shards
        taken, on = {row.index for *_, row in rows}, {place.index for place, *_ in rows}
        n, c = self.sampler.seats(self.room, shared, seats.fullest(taken)), self.sampler.places(self.room, places.fullest(on))
        self._rows, self._prefix = self._brought(seats, taken, n, self._rows), self._brought(places, on, c, self._prefix)
        speaks, home, numbers = np.zeros(n * shards, bool), np.zeros(n * shards, np.int32), np.zeros((c * shards, most), np.int32)
        speakers = []
        for place, number, row in rows:
            (shard, seat), at = divmod(row.index, seats.each), place.index % places.each
            speakers.append(Speaker(place, number, row, shard * n + seat))
            speaks[shard * n + seat], home[shard * n + seat], numbers[shard * c + at, number] = True, at * most + number, seat
        return Seating(*map(self._put, (speaks, home, numbers))), speakers

    def _brought(self, standing: Standing, wanted: set[int], first: int, held):
        """`held` once those on `wanted` stand on the `first` of their devices."""
        moved, shards = standing.bring_forward(wanted, first), self.sampler.shards
        if not moved:
            return held
        pairs, count = np.zeros((2, shards, standing.each), np.int32), np.zeros(shards, np.int32)
        for pair in moved:
            shard = pair[0] // standing.each
            pairs[:, shard, count[shard]] = [n % standing.each for n in pair]
            count[shard] += 1
        return self.sampler.functions.exchange(held, Pairs(*map(self._put, (*pairs.reshape(2, -1), count))))

    def _collect(self, chunk: Chunk, speakers: list[Speaker]) -> list[Said]:
        """Take over what a chunk brought; the responses that ended in it."""
        chunk, ended = jax.device_get(chunk), []
        for place, number, row, at in speakers:
            if row.speaks:  # it was not stopped while the chunk ran
                count, over = int(chunk.count[at]), bool(chunk.ended[at])
                row.add(chunk.tokens[at, :count], chunk.logprobs[at, :count])
                if over or row.count >= place.request.tokens:
                    row.speaks = False
                    ended.append(Said(place.request, number, row.turn, *row.said(), over))
        return ended

    def _prefix_bound(self, more: int = 0) -> int:
        """Prefix slots that may hold something once a place holds `more`."""
        return self.sampler.bound(max([more, *(place.prefix for place in self._places)]), self.room.prefix)

    def _put(self, x: np.ndarray):
        """An array whose first axis is places, seats or lanes, on the mesh."""
        mesh = self.sampler.mesh
        return x if mesh is None else jax.device_put(x, placement(x.shape, ("batch", *[None] * (x.ndim - 1)), mesh))

    # reading

    def _read(self, call: list[tuple[Waiting, int] | None]) -> None:
        """Read the tokens of one call and let the rows speak that come next."""
        real = [lane for lane in call if lane]
        kind, size = real[0][0].kind, real[0][0].size
        for item, index in real:
            if item.place is None:
                item.place = self._at[item.request] = Place(index, item.request, 0, [])
                self._places.put(item.place)
                self._sit(item.place, self._seats.free_beside(index, self._places), turn=0)
        items = [(lane or real[0])[0] for lane in call]  # lanes of nobody repeat one that is somebody's
        rows = [item.place.rows[item.row] for item in items]
        laid = given([item.piece for item in items], [row.position + row.count for row in rows], size, self.sampler.config.image_id)
        offsets = [row.length + row.count + (0 if kind == "append" else item.place.prefix) for item, row in zip(items, rows, strict=True)]
        held = self._prefix_bound(0 if kind == "append" else max(offsets))
        following = [self._go_on(kind, lane[0], int(position)) if lane else {} for lane, position in zip(call, laid.next_position, strict=True)]
        lanes = self._lanes(items, rows, offsets, following)
        if self.sampler.mesh is not None:
            laid = jax.tree.map(jax.device_put, laid, given_places(laid, self.sampler.mesh))
        params, prefix, rows, functions = self._params, self._prefix, self._rows, self.sampler.functions
        if kind == "append":
            bounds = held, self.sampler.bound(max(offsets), self.room.suffix)
            self._rows = functions.append(params, prefix, rows, laid, lanes, bounds=bounds)
        else:
            if kind == "proceed":
                said, most = (rows.k, rows.v), self.room.shared_slots
                self._prefix, speech = functions.proceed(params, prefix, said, rows.speech, laid, lanes, most=most, bound=held)
            else:
                self._prefix, speech = functions.start(params, prefix, rows.speech, laid, lanes)
            self._rows = dataclasses.replace(rows, speech=speech)
        if self._timeline:
            self._timeline.watch("read", self._rows.speech.active + 0)  # a copy: the next call takes the array itself over

    def _go_on(self, kind: str, item: Waiting, position: int) -> dict[int, int]:
        """What the host knows of rows whose next response begins at `position`, behind what is read; their numbers and seats."""
        place, row, read = item.place, item.place.rows[item.row], len(item.piece)
        if kind == "append":
            place.rows[item.row] = Row(row.index, row.turn + 1, row.length + row.count + read, position)
            self._seats.put(place.rows[item.row])
            return {item.row: row.index}
        place.prefix += row.count + read
        place.rows = []
        self._sit(place, row.index, row.turn + 1, position)  # behind what is folded out of its seat
        while row.turn + 1 > item.request.shared and len(place.rows) < item.request.rows:
            self._sit(place, self._seats.free_beside(place.index, self._places), row.turn + 1, position)
        return {number: row.index for number, row in enumerate(place.rows)}

    def _sit(self, place: Place, seat: int, turn: int, position: int = 0) -> None:
        """Give the tree on a place one row more."""
        place.rows.append(Row(seat, turn, 0, position, speaks=turn > 0))
        self._seats.put(place.rows[-1])

    def _lanes(self, items: list[Waiting], rows: list[Row], offsets: list[int], following: list[dict[int, int]]) -> Lanes:
        """The items of a call, one a lane, as the device is told. rows: that spoke before. following: seats of those that speak next, by their
        numbers, none where a lane fills up the call."""
        places, seats, integers = self._places.each, self._seats.each, functools.partial(np.array, dtype=np.int32)
        after = np.full((len(items), self.room.rows), seats, np.int32)
        for a, spoken in enumerate(following):
            for number, seat in spoken.items():
                after[a, number] = seat % seats
        identity = [(*item.request.identity, row.turn + 1) for item, row in zip(items, rows, strict=True)]
        controls = [item.request.controls for item in items]
        lanes = Lanes(
            place=integers([item.place.index % places for item in items]), seat=integers([row.index % seats for row in rows]),
            real=np.array([bool(spoken) for spoken in following]), offset=integers(offsets), folded=integers([row.count for row in rows]), next=after,
            left=integers([item.request.tokens for item in items]), identity=integers(identity),
            controls=Controls(*[
                np.array([getattr(one, field.name) for one in controls], np.int32 if field.name == "top_k" else np.float32)
                for field in dataclasses.fields(Controls)
            ]),
        )  # fmt: skip
        return jax.tree.map(self._put, lanes)
