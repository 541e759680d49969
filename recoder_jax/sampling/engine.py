"""The engine: trees of dialogues on a fixed number of places, decoded in chunks; what ended leaves, what waits enters in between.

    submit ──► waiting prompts ──► read ──► rows speak ──► step() tells who ended ──► feed ──► waiting feedback ──► read ──► rows speak ──► ...
                                                                                └──► release; a place whose rows are all gone is free

One chunk is always in flight: `step` dispatches the next chunk before it collects the one before, so the device works while the host
looks at what was said. Nothing here knows programs or rewards: `rollout.play` and `serving` drive it.

What a row says is a function of its identity (seed, step, chart, branch, turn) and its dialogue. The place, the chunk length and the rows
beside it do not change its tokens: keys do not depend on them, calls have a fixed number of lanes, and lanes of one call one padded size.
What they change beyond 512 slots is the order of sums: a call reads as many slots as the fullest row beside it needs (`Sampler.bound`).

Axes: A lanes, C places, R rows of a place.
"""

import dataclasses

import jax
import numpy as np

from recoder_jax.dialogue.encoder import Tokens
from recoder_jax.sampling.budget import check_memory
from recoder_jax.sampling.cache import Lanes
from recoder_jax.sampling.drawing import Controls
from recoder_jax.sampling.functions import Room, Sampler
from recoder_jax.sampling.layout import given, given_places, size_of
from recoder_jax.sampling.places import Place, Queue, Request, Row, Waiting
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


class Engine:
    """Plays requests on a sampler's functions, with the parameters that `sampler.load` made. The cache lives as long as the engine.
    timeline: is told when the device works.

    Raises ValueError for a room that does not lie evenly over the devices, or for which they have no memory.
    """

    def __init__(self, sampler: Sampler, params, room: Room, timeline: Timeline | None = None):
        shards = sampler.shards
        if room.places % shards or room.lanes % shards:
            raise ValueError(f"{room.places} places and {room.lanes} lanes do not lie evenly over {shards} devices of the mesh's data and fsdp axes; "
                             "choose multiples")  # fmt: skip
        check_memory(room, sampler)
        self.sampler, self.room, self._timeline = sampler, room, timeline
        self._params, (self._prefix, self._trunk, self._rows) = params, sampler.caches(room)
        self._places: list[Place | None] = [None] * room.places
        self._at: dict[Request, Place] = {}
        self._queue, self._now = Queue(room.lanes, room.places, shards), 0
        self._flight: list[tuple] = []  # chunks on the device: what they bring, and the (place, number, row) that speak in them
        self._silenced: dict[bool, set[tuple[int, int]]] = {True: set(), False: set()}

    def submit(self, request: Request) -> None:
        """Queue a tree. Raises ValueError for one that the room cannot hold."""
        room, size, controls = self.room, size_of(request.prompt, self.sampler.buckets), request.controls
        controls.check()
        slots = room.trunk if request.shared else room.suffix
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
        taken, slots = (place.prefix + one.count, room.prefix) if place.trunk else (one.length + one.count, room.suffix)
        if taken + size.tokens > slots or place.trunk and place.prefix + room.trunk > slots:
            raise ValueError(f"feedback of {len(piece)} tokens does not fit: {taken} of {slots} slots are taken; raise the cap of a feedback")
        self._queue.add(Waiting(piece, size, self._now, request, place, row))

    def release(self, request: Request, row: int) -> None:
        """A row says nothing more. In a shared turn the whole tree ends."""
        place = self._at[request]
        place.rows[row].gone = True
        if all(one.gone for one in place.rows):
            self._places[place.index] = None
            del self._at[request]

    def stop(self, request: Request, row: int, keep: int | None = None) -> Said:
        """Cut a row that speaks after `keep` of the tokens that `spoken` gives, or after all of them: no later `step` tells of this response.
        Then feed or release it."""
        place = self._at[request]
        one = place.rows[row]
        one.speaks = False
        if keep is not None:
            one.cut(keep)
        self._silenced[place.trunk].add((place.index, row))
        return Said(request, row, one.turn, *one.said(), False)

    def speaking(self) -> list[tuple[Request, int]]:
        """Rows that are not known to have ended, with their requests."""
        return [(place.request, number) for place in self._places if place for number, row in enumerate(place.rows) if row.speaks]

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
        return (place.rows[row] if place and row < len(place.rows) else Row(1, 0, 0)).said()

    @property
    def busy(self) -> bool:
        """Whether `step` has something to do."""
        return bool(self._flight) or self._speaking() > 0 or self._queue.readable(self._free())

    @property
    def flying(self) -> bool:
        """Whether a chunk is on the device."""
        return bool(self._flight)

    def step(self, hold: bool = False) -> list[Said]:
        """Read what waits, dispatch the next chunk, and return the responses that ended in the chunk before it.

        hold: the host is behind, so more rows come only as it catches up: rows wait while less than half of those that could speak do. A
        chunk takes as long for few rows as for all, and where host and device are one machine it takes the host's time.
        """
        while call := self._queue.next_call(self._free(), self._speaking(), self._now):
            self._read(call)
        before, self._flight = self._flight, [*self._dispatch(True, hold), *self._dispatch(False, hold)]
        self._now += 1
        return [said for chunk, speakers in before for said in self._collect(chunk, speakers)]

    # decoding

    def _free(self) -> list[int]:
        return [index for index, place in enumerate(self._places) if place is None]

    def _speaking(self) -> int:
        return sum(row.speaks for place in self._places if place for row in place.rows)

    def _could_speak(self, trunk: bool) -> int:
        """Trunks, or rows, of trees that are not over, those that wait included."""
        places = [place for place in self._places if place]
        if trunk:
            return sum(place.trunk for place in places)
        return sum(place.request.rows if place.trunk else sum(not row.gone for row in place.rows) for place in places)

    def _dispatch(self, trunk: bool, hold: bool) -> list[tuple]:
        """A chunk of the trunks or of the rows, where somebody speaks that the chunk in flight does not cut."""
        flying = {id(row) for _, speakers in self._flight for *_, row in speakers}
        speakers = [
            (place, number, row)
            for place in self._places if place and place.trunk == trunk
            for number, row in enumerate(place.rows)
            if row.speaks and row.count + (self.room.chunk if id(row) in flying else 0) < place.request.tokens
        ]  # fmt: skip
        if not speakers or hold and 2 * len(speakers) < self._could_speak(trunk):
            return []
        rows = self._trunk if trunk else self._rows
        silenced = np.zeros(rows.speech.active.shape, bool)
        for cut in self._silenced[trunk]:
            silenced[cut] = True
        self._silenced[trunk].clear()
        held = max(row.length + row.count + self.room.chunk for *_, row in speakers)
        bounds = self._prefix_bound(), self.sampler.bound(held, rows.k.shape[4])
        filtered = any(place.request.controls.filtered for place, *_ in speakers)
        rows, chunk = self.sampler.functions.decode(
            self._params, self._prefix, rows, self._put(silenced), steps=self.room.chunk, bounds=bounds, filtered=filtered
        )
        self._keep(trunk, rows)
        if self._timeline:
            self._timeline.watch("decode", chunk.count)
        return [(chunk, speakers)]

    def _collect(self, chunk, speakers) -> list[Said]:
        """Take over what a chunk brought; the responses that ended in it."""
        chunk, ended = jax.device_get(chunk), []
        for place, number, row in speakers:
            if row.speaks:  # it was not stopped while the chunk ran
                count, over = int(chunk.count[place.index, number]), bool(chunk.ended[place.index, number])
                row.add(chunk.tokens[place.index, number, :count], chunk.logprobs[place.index, number, :count])
                if over or row.count >= place.request.tokens:
                    row.speaks = False
                    ended.append(Said(place.request, number, row.turn, *row.said(), over))
        return ended

    def _prefix_bound(self, more: int = 0) -> int:
        """Prefix slots that may hold something once a place holds `more`."""
        return self.sampler.bound(max([more, *(place.prefix for place in self._places if place)]), self.room.prefix)

    def _keep(self, trunk: bool, rows) -> None:
        if trunk:
            self._trunk = rows
        else:
            self._rows = rows

    def _put(self, x: np.ndarray):
        """An array whose first axis is places or lanes, on the mesh."""
        mesh = self.sampler.mesh
        return x if mesh is None else jax.device_put(x, placement(x.shape, ("batch", *[None] * (x.ndim - 1)), mesh))

    # reading

    def _read(self, call: list[tuple[Waiting, int] | None]) -> None:
        """Read the tokens of one call and let the rows speak that come next."""
        real = [lane for lane in call if lane]
        (kind, trunk), size = real[0][0].kind, real[0][0].size
        for item, index in real:
            if item.place is None:
                item.place = self._places[index] = self._at[item.request] = Place(index, item.request, 0, [Row(0, 0, 0, speaks=False)])
        items = [(lane or real[0])[0] for lane in call]  # lanes of nobody repeat one that is somebody's
        rows = [item.place.rows[item.row] for item in items]
        laid = given([item.piece for item in items], [row.position + row.count for row in rows], size, self.sampler.config.image_id)
        lanes, functions = self._lanes(kind, trunk, items, [lane is not None for lane in call]), self.sampler.functions
        following = laid.next_position
        if self.sampler.mesh is not None:
            laid = jax.tree.map(jax.device_put, laid, given_places(laid, self.sampler.mesh))
        target = self._trunk if trunk else self._rows
        if kind == "append":
            held = self.sampler.bound(max(row.length + row.count for row in rows), self.room.suffix)
            bounds = self._prefix_bound(), held
            target = functions.append(self._params, self._prefix, target, laid, lanes, bounds=bounds)
        elif kind == "proceed":
            bound = self._prefix_bound(max(item.place.prefix + row.count for item, row in zip(items, rows, strict=True)))
            trunks = self._trunk.k, self._trunk.v
            self._prefix, speech = functions.proceed(self._params, self._prefix, trunks, target.speech, laid, lanes, bound=bound)
            target = dataclasses.replace(target, speech=speech)
        else:
            self._prefix, speech = functions.start(self._params, self._prefix, target.speech, laid, lanes)
            target = dataclasses.replace(target, speech=speech)
        self._keep(trunk, target)
        if self._timeline:
            self._timeline.watch("read", target.speech.active + 0)  # a copy: the next call takes the array itself over
        for lane, position in zip(call, following, strict=True):
            if lane:
                self._go_on(kind, lane[0], int(position))

    def _go_on(self, kind: str, item: Waiting, position: int) -> None:
        """What the host knows of rows whose next response begins at `position`, behind what was read."""
        place, row, read = item.place, item.place.rows[item.row], len(item.piece)
        if kind == "append":
            place.rows[item.row] = Row(row.turn + 1, row.length + row.count + read, position)
            self._silenced[False].discard((place.index, item.row))
            return
        place.prefix += row.count + read
        count = 1 if row.turn + 1 <= item.request.shared else item.request.rows
        place.rows = [Row(row.turn + 1, 0, position) for _ in range(count)]
        self._silenced[place.trunk] -= {(place.index, number) for number in range(count)}

    def _lanes(self, kind: str, trunk: bool, items: list[Waiting], real: list[bool]) -> Lanes:
        """The items of a call, one a lane, as the device is told."""
        share, width = self.room.places // self.sampler.shards, 1 if trunk else self.room.rows
        rows, speak = [item.place.rows[item.row] for item in items], np.zeros((len(items), width), bool)
        for a, item in enumerate(items):
            speak[a, slice(item.row, item.row + 1) if kind == "append" else slice(1 if trunk else item.request.rows)] = True
        identity = [(*item.request.identity, row.turn + 1) for item, row in zip(items, rows, strict=True)]
        begin = [0 if kind == "append" else item.place.prefix for item in items]
        controls = [item.request.controls for item in items]
        lanes = Lanes(
            place=np.array([item.place.index % share for item in items], np.int32), row=np.array([item.row for item in items], np.int32),
            real=np.array(real), offset=np.array([b + row.length + row.count for b, row in zip(begin, rows, strict=True)], np.int32),
            folded=np.array([row.count for row in rows], np.int32), rows=speak,
            left=np.array([item.request.tokens for item in items], np.int32), identity=np.array(identity, np.int32),
            controls=Controls(*[
                np.array([getattr(one, field.name) for one in controls], np.int32 if field.name == "top_k" else np.float32)
                for field in dataclasses.fields(Controls)
            ]),
        )  # fmt: skip
        return jax.tree.map(self._put, lanes)
