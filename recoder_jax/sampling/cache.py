"""What a rollout holds on the devices: one prefix a place, one suffix a seat, and what each row is about to say.

Axes: L layers, C places, N seats, R rows of a tree, A lanes, K key/value heads, H head dimension, P prefix slots, S suffix slots, E new
slots, D model, V vocabulary.

A *place* is where one dialogue tree stands while it is played; what its rows share lies once in `Prefix`. A *seat* is where one row sits
while it has something to say; what it said and was told lies in `Rows`. A shared turn is said by one row. Nothing is read twice: when a
shared turn ends, its row is folded into the prefix, and feedback is read behind it. Stage 1, two turns, group of 3:

    prompt      place  |[prompt ....].......................|
    turn 1      place  |[prompt ....].......................|   seat 0 |[o1 ......]........|
    feedback    place  |[prompt ....][o1 ......][f1, render]|   seat 0 |...................|     fold, then read f1
    turn 2      place  |  the same, read once for its rows  |   seat 0 |[o2 ............]..|
                                                                seat 1 |[o2 ...]...........|   ended: free for a row of any tree
                                                                seat 2 |[o2 ........]......|

and a row whose dialogue goes on, stage 2:                      seat 0 |[o1 ......][f1, render][o2 ...].....|

Slots fill from the left; those from `length` on hold nothing, whatever bits they have. While a chunk of tokens is decoded, `Rows` is only
read: new keys and values go to a buffer that is common to all rows, and move behind each row when the chunk ends (`settle`).

A call decodes the first seats and reads the first places alone, all or a half, a quarter, an eighth of them. Where fewer speak, they
change places with those that do not (`exchange`), and `Seating` says who sits where:

    seats  | a0  -  b2  a1 | -  b0  -  - |     four of eight speak: b0 and the empty seat 1 change, and the call has four seats

Places and seats lie over the batch axes of the mesh, a tree's seats on the devices of its place. A lane is one dialogue's share of a call
that reads given tokens; lanes lie over the same axes, and a lane serves places of its own devices only, so that no cache ever travels
(`on_shards`). Numbers of places and seats that devices are told count from the first of their own.

Keys and values are arrays of the policy's dtype, or `Int8` of the same shape, whose scales have no axis H: what is written here slices the
axes in front of it. A token's keys and values are rounded once, when they come to be held, and never rounded again.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from recoder_jax.models.qwen2_5_vl.past import Held, Int8, to_int8
from recoder_jax.sampling.drawing import Controls
from recoder_jax.sharding import SAMPLING, on_shards, spec

HELD = ("layers", "batch", "kv_heads")  # axes of keys and values, then slots and H, which lie whole on a device


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Prefix:
    """k, v: [L, C, K, P, H]. length: int32 [C], slots that hold something."""

    k: Held
    v: Held
    length: jax.Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Speech:
    """Where the row of each seat stands in what it says.

    length: int32 [N], suffix slots that hold something. position: int32 [N], M-RoPE position of the next token. last: [N, D], final hidden
    state of the last token, from which the next one is drawn. said: int32 [N], tokens of this response so far. left: int32 [N], tokens it
    may still have. active: bool [N], speaks, unless the host knows better (`Seating.speaks`). key: uint32 [N, 2], of this response. seen:
    bool [N, V], ids that stand in the dialogue, or [N, 0] where no repetition penalty asks for them.
    """

    length: jax.Array
    position: jax.Array
    last: jax.Array
    said: jax.Array
    left: jax.Array
    active: jax.Array
    key: jax.Array
    controls: Controls
    seen: jax.Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Rows:
    """k, v: [L, N, K, S, H]. speech: of each seat."""

    k: Held
    v: Held
    speech: Speech


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Seating:
    """Who speaks in a call that decodes the first n seats and reads the first c places of each device.

    speaks: bool [n]. home: int32 [n], place * R + number of the row in its tree. rows: int32 [c, R], seat of each row of a tree,
    [c, 1] where all are in a turn that is shared. The last two hold anything of rows that do not speak.
    """

    speaks: jax.Array
    home: jax.Array
    rows: jax.Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Pairs:
    """Places, or seats, that change with each other: int32 [M] twice, the first `count` [1] of a device's."""

    one: jax.Array
    other: jax.Array
    count: jax.Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Lanes:
    """For whom given tokens are read, and who speaks next.

    place: int32 [A]. seat: int32 [A], whose row is folded, or that they are appended to. real: bool [A], false for lanes that fill up a
    call. offset: int32 [A], first slot they take in the prefix or in the row. folded: int32 [A], tokens of the seat that move to the prefix
    first. next: int32 [A, R], the seats of rows that speak next, N or more for a row that does not. left: int32 [A]. identity: int32 [A, 4],
    seed, step, chart and turn. controls: of [A].
    """

    place: jax.Array
    seat: jax.Array
    real: jax.Array
    offset: jax.Array
    folded: jax.Array
    next: jax.Array
    left: jax.Array
    identity: jax.Array
    controls: Controls


def prefix_specs() -> Prefix:
    return Prefix(spec(HELD, SAMPLING), spec(HELD, SAMPLING), by_place())


def speech_specs() -> Speech:
    return _by_place(Speech)


def rows_specs() -> Rows:
    return Rows(spec(HELD, SAMPLING), spec(HELD, SAMPLING), speech_specs())


def lanes_specs() -> Lanes:
    return _by_place(Lanes)


def _by_place(kind: type):
    """Specs of a dataclass all of whose arrays lie by place, controls among them."""
    controls = Controls(*[by_place() for _ in dataclasses.fields(Controls)])
    return kind(**{field.name: controls if field.name == "controls" else by_place() for field in dataclasses.fields(kind)})


def lanes_shapes(lanes: int, rows: int) -> Lanes:
    """Shapes and dtypes of the lanes of a call whose trees have `rows` rows."""
    def each(dtype, *more):
        return jax.ShapeDtypeStruct((lanes, *more), dtype)

    number, real = each(jnp.int32), each(jnp.float32)
    controls = Controls(real, real, number, real, real)
    return Lanes(number, number, each(bool), number, number, each(jnp.int32, rows), number, each(jnp.int32, 4), controls)


def by_place() -> PartitionSpec:
    """Of an array whose first axis is places, seats or lanes."""
    return spec(("batch",), SAMPLING)


def empty(shape: tuple[int, ...], dtype) -> Held:
    """Keys or values [..., H] that hold nothing; int8 is `Int8`."""
    values = jnp.zeros(shape, dtype)
    return Int8(values, jnp.zeros(shape[:-1], jnp.float32)) if values.dtype == jnp.int8 else values


def as_held(new: jax.Array, held: Held) -> Held:
    """New keys or values in the form of those that are held."""
    return to_int8(new) if isinstance(held, Int8) else new


def empty_prefix(layers: int, places: int, heads: int, slots: int, head_dim: int, dtype) -> Prefix:
    shape = (layers, places, heads, slots, head_dim)
    return Prefix(empty(shape, dtype), empty(shape, dtype), jnp.zeros(places, jnp.int32))


def empty_rows(layers: int, seats: int, heads: int, slots: int, head_dim: int, dtype, width: int, seen: int, spoken_dtype) -> Rows:
    """Seats that hold nothing and are silent. dtype: of keys and values. width, spoken_dtype: of hidden states. seen: V, or 0."""
    shape = (layers, seats, heads, slots, head_dim)
    speech = Speech(
        length=jnp.zeros(seats, jnp.int32), position=jnp.zeros(seats, jnp.int32), last=jnp.zeros((seats, width), spoken_dtype),
        said=jnp.zeros(seats, jnp.int32), left=jnp.zeros(seats, jnp.int32), active=jnp.zeros(seats, bool),
        key=jnp.zeros((seats, 2), jnp.uint32), controls=Controls.neutral((seats,)), seen=jnp.zeros((seats, seen), bool),
    )
    return Rows(empty(shape, dtype), empty(shape, dtype), speech)


def fold(prefix: Prefix, k: Held, v: Held, lanes: Lanes, most: int) -> Prefix:
    """Move the `folded` tokens, at most `most`, of each lane's seat in k and v [L, N, K, S, H] to the end of its prefix. On one shard."""

    def move(held, source):
        def one(a, held):
            start = (0, lanes.seat[a], *[0] * (source.ndim - 2))
            piece = jax.lax.dynamic_slice(source, start, (source.shape[0], 1, source.shape[2], most, *source.shape[4:]))
            return put(held, piece, (0, lanes.place[a], 0, lanes.offset[a] - lanes.folded[a], 0), lanes.real[a])

        return jax.lax.fori_loop(0, len(lanes.place), one, held)

    held, length = jax.tree.map(move, (prefix.k, prefix.v), (k, v)), set_where(prefix.length, lanes.place, lanes.real, lanes.offset)
    return Prefix(*held, length)


def write_prefix(prefix: Prefix, k: jax.Array, v: jax.Array, count: jax.Array, lanes: Lanes) -> Prefix:
    """Write k, v [L, A, K, E, H], `count` [A] tokens of which are valid, at each lane's offset. On one shard."""
    held = [_write(held, new, lanes.place, lanes) for held, new in ((prefix.k, k), (prefix.v, v))]
    return Prefix(*held, set_where(prefix.length, lanes.place, lanes.real, lanes.offset + count))


def write_row(rows: Rows, k: jax.Array, v: jax.Array, lanes: Lanes) -> Rows:
    """Write k, v [L, A, K, E, H] at each lane's offset in its row. On one shard."""
    k, v = (_write(held, new, lanes.seat, lanes) for held, new in ((rows.k, k), (rows.v, v)))
    return dataclasses.replace(rows, k=k, v=v)


def _write(held: Held, new: jax.Array, where: jax.Array, lanes: Lanes) -> Held:
    def write(held, new):
        def one(a, held):
            return put(held, jax.lax.dynamic_slice_in_dim(new, a, 1, axis=1), (0, where[a], 0, lanes.offset[a], 0), lanes.real[a])

        return jax.lax.fori_loop(0, len(where), one, held)

    return jax.tree.map(write, held, as_held(new, held))


def settle(held: Held, recent: Held, length: jax.Array) -> Held:
    """Move what a chunk brought, [L, n, K, E, H], behind the `length` [n] slots of each of the first n rows of `held` [L, N, K, S, H]. Slots
    that no token of the chunk took come to hold nothing of worth, beyond the row's new length. On one shard."""
    # counted from an array: XLA for TPUs takes a loop that reads and writes at its own counter for another one, and fails to compile it
    counter = jax.lax.optimization_barrier(jnp.arange(len(length)))

    def move(held, recent):
        def one(n, held):
            seat = counter[n]
            piece = jax.lax.dynamic_slice_in_dim(recent, seat, 1, axis=1)
            return jax.lax.dynamic_update_slice(held, piece, (0, seat, 0, length[seat], 0)[: held.ndim])

        return jax.lax.fori_loop(0, len(length), one, held)

    return jax.tree.map(move, held, recent)


def exchange(held: Prefix | Rows, pairs: Pairs) -> Prefix | Rows:
    """`held` with the places, or seats, of each pair changed with each other.

    What one hand holds changes with the first, the other and the first again: of a loop that reads two and writes two XLA for TPUs makes one
    that copies the whole array.
    """

    def change(x, axis, pairs):
        stops = jnp.stack([pairs.one, pairs.other, pairs.one], axis=1).ravel()

        def one(n, carry):
            x, hand = carry
            return jax.lax.dynamic_update_slice_in_dim(x, hand, stops[n], axis), jax.lax.dynamic_slice_in_dim(x, stops[n], 1, axis)

        empty = jnp.zeros_like(jax.lax.slice_in_dim(x, 0, 1, axis=axis))
        return jax.lax.fori_loop(0, 3 * pairs.count[0], one, (x, empty))[0]

    def on_one(held, pairs):
        k, v = jax.tree.map(lambda x: change(x, 1, pairs), (held.k, held.v))
        rest = {name: jax.tree.map(lambda x: change(x, 0, pairs), getattr(held, name)) for name in ("length", "speech") if hasattr(held, name)}
        return dataclasses.replace(held, k=k, v=v, **rest)

    specs = prefix_specs() if isinstance(held, Prefix) else rows_specs()
    return on_shards(on_one, (specs, Pairs(*[by_place()] * 3)), specs)(held, pairs)


def speak(speech: Speech, lanes: Lanes, position: jax.Array, last: jax.Array, length: jax.Array, seen: jax.Array) -> Speech:
    """Let the rows on `lanes.next` say their next response, behind what their lane read. On one shard.

    position, length: int32 [A], of the next token. last: [A, D]. seen: bool [A, V or 0].
    """
    shape = lanes.next.shape  # [A, R]
    where = jnp.where(lanes.real[:, None], lanes.next, len(speech.length))

    def put_rows(held, new):
        each = jnp.broadcast_to(new[:, None] if new.ndim == held.ndim else new, (*shape, *held.shape[1:]))
        return held.at[where].set(each.astype(held.dtype), mode="drop")

    new = Speech(
        length=length, position=position, last=last, said=jnp.zeros_like(length), left=lanes.left, active=jnp.ones_like(lanes.real),
        key=row_keys(lanes.identity, shape[1]), controls=lanes.controls, seen=seen,
    )
    return jax.tree.map(put_rows, speech, new)


def row_keys(identity: jax.Array, rows: int) -> jax.Array:
    """Keys of the responses of `rows` branches, uint32 [A, R, 2], from identity int32 [A, 4]: fold_in of seed, step, chart, branch and turn,
    so that any single response can be drawn again alone."""

    def one(identity, branch):
        seed, step, chart, turn = identity
        key = jax.random.fold_in(jax.random.key(seed), step)
        return jax.random.key_data(jax.random.fold_in(jax.random.fold_in(jax.random.fold_in(key, chart), branch), turn))

    return jax.vmap(lambda identity: jax.vmap(lambda branch: one(identity, branch))(jnp.arange(rows)))(identity)


def put(held: jax.Array, piece: jax.Array, start: tuple, real: jax.Array) -> jax.Array:
    """`held` with `piece` at `start`, of which it has the first axes or all, unless the lane is not real."""
    start = start[: held.ndim]
    old = jax.lax.dynamic_slice(held, start, piece.shape)
    return jax.lax.dynamic_update_slice(held, jnp.where(real, piece.astype(held.dtype), old), start)


def set_where(held: jax.Array, place: jax.Array, real: jax.Array, new: jax.Array) -> jax.Array:
    """`held` [C] with the values `new` [A] of real lanes at their places."""
    return held.at[jnp.where(real, place, held.shape[0])].set(new, mode="drop")
