"""What a rollout holds on the devices: one prefix a place, R rows behind it, and what each row is about to say.

Axes: L layers, C places, R rows of a place, A lanes, K key/value heads, H head dimension, P prefix slots, S suffix slots, E new slots,
D model, V vocabulary.

A *place* is where one dialogue tree stands while it is played. What its rows share lies once in `Prefix`; what each row said and was told
lies in `Rows`. A tree whose first turns are shared has `Rows` of its own for them, the trunk, with one row a place. Nothing is read
twice: when a shared turn ends, its row is folded into the prefix, and feedback is read behind it. Stage 1, two turns, group of 3:

    prompt      prefix  |[prompt ....].......................|
    turn 1      prefix  |[prompt ....].......................|   trunk |[o1 ......]....|
    feedback    prefix  |[prompt ....][o1 ......][f1, render]|   trunk |...............|     fold, then read f1
    turn 2      prefix  |  the same, read once for its rows  |   rows  |[o2 ............]..|
                                                                       |[o2 ...]...........|   ended: the row waits for the others
                                                                       |[o2 ........]......|

and a row whose dialogue goes on, stage 2:                       rows  |[o1 ......][f1, render][o2 ...].....|

Slots fill from the left; those from `length` on hold nothing, whatever bits they have. While a chunk of tokens is decoded, `Rows` is only
read: new keys and values go to a buffer that is common to all rows, and move behind each row when the chunk ends (`settle`).

Places lie over the batch axes of the mesh. A lane is one dialogue's share of a call that reads given tokens; lanes lie over the same
axes, and a lane serves places of its own devices only, so that no cache ever travels (`on_shards`).

Keys and values are arrays of the policy's dtype, or `Int8` of the same shape, whose scales have no axis H: what is written here slices the
axes in front of it. A token's keys and values are rounded once, when they come to be held, and never rounded again.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from recoder_jax.models.qwen2_5_vl.attention import Held, Int8, to_int8
from recoder_jax.sampling.drawing import Controls
from recoder_jax.sharding import SAMPLING, spec

PREFIX = ("layers", "batch", "kv_heads")  # and slots and H, which lie whole on a device
SUFFIX = ("layers", "batch", None, "kv_heads")


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
    """Where each row stands in what it says.

    length: int32 [C, R], suffix slots that hold something. position: int32 [C, R], M-RoPE position of the next token. last: [C, R, D],
    final hidden state of the last token, from which the next one is drawn. said: int32 [C, R], tokens of this response so far. left:
    int32 [C, R], tokens it may still have. active: bool [C, R], speaks. key: uint32 [C, R, 2], of this response. seen: bool [C, R, V],
    ids that stand in the dialogue, or [C, R, 0] where no repetition penalty asks for them.
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
    """k, v: [L, C, R, K, S, H]. speech: of each row."""

    k: Held
    v: Held
    speech: Speech


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Lanes:
    """For whom given tokens are read, and what the rows do next.

    place: int32 [A], among the places of the lane's devices. row: int32 [A], the row they are appended to. real: bool [A], false for
    lanes that fill up a call. offset: int32 [A], first slot they take in the prefix or in the row. folded: int32 [A], tokens of the
    trunk that move to the prefix first. rows: bool [A, R], who speaks next. left: int32 [A]. identity: int32 [A, 4], seed, step, chart
    and turn. controls: of [A].
    """

    place: jax.Array
    row: jax.Array
    real: jax.Array
    offset: jax.Array
    folded: jax.Array
    rows: jax.Array
    left: jax.Array
    identity: jax.Array
    controls: Controls


def on_shards(function: Callable, ins: tuple, outs) -> Callable:
    """`function` run by each device on the places, lanes and heads it holds. ins, outs: trees of PartitionSpec; without a mesh, plainly."""

    def run(*arguments):
        mesh = jax.sharding.get_abstract_mesh()
        if mesh.empty:
            return function(*arguments)
        return jax.shard_map(function, in_specs=ins, out_specs=outs, check_vma=False)(*arguments)

    return run


def prefix_specs() -> Prefix:
    return Prefix(spec(PREFIX, SAMPLING), spec(PREFIX, SAMPLING), by_place())


def speech_specs() -> Speech:
    fields = {field.name: by_place() for field in dataclasses.fields(Speech)}
    return Speech(**fields | {"controls": controls_specs()})


def rows_specs() -> Rows:
    return Rows(spec(SUFFIX, SAMPLING), spec(SUFFIX, SAMPLING), speech_specs())


def lanes_specs() -> Lanes:
    fields = {field.name: by_place() for field in dataclasses.fields(Lanes)}
    return Lanes(**fields | {"controls": controls_specs()})


def controls_specs() -> Controls:
    return Controls(*[by_place() for _ in dataclasses.fields(Controls)])


def lanes_shapes(lanes: int, rows: int) -> Lanes:
    """Shapes and dtypes of the lanes of a call whose places have `rows` rows."""
    def each(dtype, *more):
        return jax.ShapeDtypeStruct((lanes, *more), dtype)

    number, real = each(jnp.int32), each(jnp.float32)
    return Lanes(number, number, each(bool), number, number, each(bool, rows), number, each(jnp.int32, 4), Controls(real, real, number, real, real))


def by_place() -> PartitionSpec:
    """Of an array whose first axis is places, or lanes."""
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


def empty_rows(layers: int, places: int, rows: int, heads: int, slots: int, head_dim: int, dtype, width: int, seen: int, spoken_dtype) -> Rows:
    """Rows that hold nothing and are silent. dtype: of keys and values. width, spoken_dtype: of hidden states. seen: V, or 0."""
    shape, each = (layers, places, rows, heads, slots, head_dim), (places, rows)
    speech = Speech(
        length=jnp.zeros(each, jnp.int32), position=jnp.zeros(each, jnp.int32), last=jnp.zeros((*each, width), spoken_dtype),
        said=jnp.zeros(each, jnp.int32), left=jnp.zeros(each, jnp.int32), active=jnp.zeros(each, bool),
        key=jnp.zeros((*each, 2), jnp.uint32), controls=Controls.neutral(each), seen=jnp.zeros((*each, seen), bool),
    )
    return Rows(empty(shape, dtype), empty(shape, dtype), speech)


def fold(prefix: Prefix, k: Held, v: Held, lanes: Lanes) -> Prefix:
    """Move `folded` tokens of each lane's trunk, k and v [L, C, 1, K, S, H], to the end of its prefix. On one shard."""

    def move(held, source):
        def one(a, held):
            piece = jax.lax.dynamic_slice_in_dim(source, lanes.place[a], 1, axis=1)[:, :, 0]  # [L, 1, K, S, H]
            return put(held, piece, (0, lanes.place[a], 0, lanes.offset[a] - lanes.folded[a], 0), lanes.real[a])

        return jax.lax.fori_loop(0, len(lanes.place), one, held)

    held, length = jax.tree.map(move, (prefix.k, prefix.v), (k, v)), set_where(prefix.length, lanes.place, lanes.real, lanes.offset)
    return Prefix(*held, length)


def write_prefix(prefix: Prefix, k: jax.Array, v: jax.Array, count: jax.Array, lanes: Lanes) -> Prefix:
    """Write k, v [L, A, 1, K, E, H], `count` [A] tokens of which are valid, at each lane's offset. On one shard."""

    def write(held, new):
        def one(a, held):
            piece = jax.lax.dynamic_slice_in_dim(new, a, 1, axis=1)[:, :, 0]
            return put(held, piece, (0, lanes.place[a], 0, lanes.offset[a], 0), lanes.real[a])

        return jax.lax.fori_loop(0, len(lanes.place), one, held)

    length = set_where(prefix.length, lanes.place, lanes.real, lanes.offset + count)
    return Prefix(*[jax.tree.map(write, held, as_held(new, held)) for held, new in ((prefix.k, k), (prefix.v, v))], length)


def write_row(rows: Rows, k: jax.Array, v: jax.Array, lanes: Lanes) -> Rows:
    """Write k, v [L, A, 1, K, E, H] at each lane's offset in its row. On one shard."""

    def write(held, new):
        def one(a, held):
            piece = jax.lax.dynamic_slice_in_dim(new, a, 1, axis=1)
            return put(held, piece, (0, lanes.place[a], lanes.row[a], 0, lanes.offset[a], 0), lanes.real[a])

        return jax.lax.fori_loop(0, len(lanes.place), one, held)

    k, v = (jax.tree.map(write, held, as_held(new, held)) for held, new in ((rows.k, k), (rows.v, v)))
    return dataclasses.replace(rows, k=k, v=v)


def settle(held: Held, recent: Held, length: jax.Array) -> Held:
    """Move what a chunk brought, [L, C, R, K, E, H], behind the `length` [C, R] slots of each row of `held` [L, C, R, K, S, H]. Slots that
    no token of the chunk took come to hold nothing of worth, beyond the row's new length. On one shard."""
    places, rows = length.shape
    # counted from an array: XLA for TPUs takes a loop that reads and writes at its own counter for another one, and fails to compile it
    counter = jax.lax.optimization_barrier(jnp.arange(places * rows))

    def move(held, recent):
        def one(n, held):
            c, r = counter[n] // rows, counter[n] % rows
            piece = jax.lax.dynamic_slice(recent, (0, c, r, *[0] * (recent.ndim - 3)), (recent.shape[0], 1, 1, *recent.shape[3:]))
            return jax.lax.dynamic_update_slice(held, piece, (0, c, r, 0, length[c, r], 0)[: held.ndim])

        return jax.lax.fori_loop(0, places * rows, one, held)

    return jax.tree.map(move, held, recent)


def speak(speech: Speech, lanes: Lanes, position: jax.Array, last: jax.Array, length: jax.Array, seen: jax.Array) -> Speech:
    """Let `lanes.rows` say their next response, behind what their lane read. On one shard.

    position, length: int32 [A], of the next token. last: [A, D]. seen: bool [A, V or 0].
    """
    places, rows = speech.length.shape
    shape = lanes.rows.shape  # [A, R]
    where = jnp.where(lanes.rows & lanes.real[:, None], lanes.place[:, None], places), jnp.broadcast_to(jnp.arange(rows), shape)

    def put_rows(held, new):
        each = jnp.broadcast_to(new[:, None] if new.ndim < held.ndim else new, (*shape, *held.shape[2:]))
        return held.at[where].set(each.astype(held.dtype), mode="drop")

    new = Speech(
        length=length, position=position, last=last, said=jnp.zeros_like(length), left=lanes.left, active=jnp.ones_like(lanes.real),
        key=row_keys(lanes.identity, rows), controls=lanes.controls, seen=seen,
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
