"""The jitted functions of sampling, and the sizes of what they work on.

Axes: A lanes, C places, N seats, V vocabulary.
"""

import dataclasses
from collections.abc import Callable, Iterable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from recoder_jax.dialogue.encoder import Encoder
from recoder_jax.models.qwen2_5_vl.config import Config
from recoder_jax.models.qwen2_5_vl.model import abstract_model
from recoder_jax.sampling import cache as cache_lib
from recoder_jax.sampling import decode as decode_lib
from recoder_jax.sampling.buckets import power_of_two, quarter_step, share_of
from recoder_jax.sampling.cache import Prefix, Rows
from recoder_jax.sampling.layout import Buckets
from recoder_jax.sharding import SAMPLING, own_mesh, shardings


@dataclasses.dataclass(frozen=True)
class Room:
    """Sizes of a cache. places: trees side by side. rows: of each. seats: rows that speak or wait side by side; a tree enters when it finds
    as many as it has rows. prefix, suffix: slots of a place and of a seat. shared_slots: those that a shared response may take, 0 where no
    turn is shared. lanes: prompts or feedbacks read in one call. chunk: tokens decoded in one call. penalised: whether a row may have a
    repetition penalty. int8: whether keys and values are held in a byte each, in place of the policy's dtype."""

    places: int
    rows: int
    seats: int
    prefix: int
    suffix: int
    shared_slots: int = 0
    lanes: int = 1
    chunk: int = 16
    penalised: bool = False
    int8: bool = False

    def bytes(self, config: Config) -> int:
        """Of keys and values, on all devices together."""
        text, slots = config.text, self.places * self.prefix + self.seats * self.suffix
        head = text.head_dim + 4 if self.int8 else text.head_dim * jnp.dtype(config.dtype).itemsize  # with its float32 scale
        return 2 * text.layers * text.kv_heads * head * slots


def room_for(
    places: int, rows: int, turns: int, shared: int, prompt: int, response: int, feedback: int, lanes: int, chunk: int, buckets: Buckets,
    penalised: bool = False, int8: bool = False, seats: int = 0,
) -> Room:
    """The room of trees whose first `shared` turns of `turns` are said once and the others by each row. prompt, response, feedback: most
    tokens of each; what is read is padded, so a piece that is read last needs room for its padding. seats: 0 is one for each row."""
    padded, own = quarter_step(feedback, buckets.tokens), turns - shared
    one = _even(response + chunk) if shared else 0
    before = prompt + (shared - 1) * (response + feedback)  # what stands in the prefix when the last shared turn is folded
    prefix = max(quarter_step(prompt, buckets.tokens), before + max(one, response + padded) if shared else 0)
    said = own * response + (own - 1) * feedback
    suffix = max(said + chunk, said - response - feedback + padded if own > 1 else 0)
    return Room(places, rows, min(seats or places * rows, places * rows), _even(prefix), _even(suffix), one, lanes, chunk, penalised, int8)


def largest(rooms: Iterable[Room]) -> Room:
    """The smallest room that holds what each of `rooms` holds."""
    rooms = list(rooms)
    return Room(**{field.name: max(getattr(room, field.name) for room in rooms) for field in dataclasses.fields(Room)})


def _even(slots: int) -> int:
    """A multiple of 8, the sublanes of a TPU's tile."""
    return -(-slots // 8) * 8


@dataclasses.dataclass(frozen=True)
class Functions:
    """load(params); empty(room), the caches; start(params, prefix, speech, given, lanes); proceed(params, prefix, said, speech, given, lanes, most, bound);
    append(params, prefix, rows, given, lanes, bounds); decode(params, prefix, rows, seating, steps, bounds, filtered);
    exchange(held, pairs).

    All but `load` and `empty` take over what they return changed. See `sampling.decode` and, for `exchange`, `sampling.cache`."""

    load: Callable
    empty: Callable
    start: Callable
    proceed: Callable
    append: Callable
    decode: Callable
    exchange: Callable


class Sampler:
    """A policy as it is sampled from, with the parameters given at each call: those that `load` makes of a policy's.

    Built once; the jitted functions keep their compilations for as long as the sampler lives. mesh: that the policy's parameters lie on; of
    several processes each samples for itself, on its own part of it. apart: whether `load` gives each block arrays of its own; without it,
    `worth_taking_apart` decides. narrow: whether a chunk decodes as few seats as those who speak need; else those of all rows, or of
    a row a tree where the turn is shared, so that on CPUs, which sum in another order where rows are fewer, a run ends with the same bits
    whenever its programs end. By default everywhere but on CPUs.
    """

    def __init__(
        self, graphdef, config: Config, encoder: Encoder, buckets: Buckets = Buckets(), mesh=None, apart: bool | None = None, narrow: bool | None = None
    ):
        self.config, self.encoder, self.buckets = config, encoder, buckets
        self.mesh = None if mesh is None else own_mesh(mesh)
        platform = jax.default_backend() if mesh is None else mesh.devices.flat[0].platform
        self.narrow = platform != "cpu" if narrow is None else narrow
        self.functions = functions_of(graphdef, config, encoder, mesh, worth_taking_apart(config, platform) if apart is None else apart)

    def load(self, params):
        """The weights that decoding reads at every token: a copy in the dtype of activations, split over the tensor axis alone, since
        to gather the parts of fully sharded weights for every token would take longer than to read them. All processes call it."""
        loaded = self.functions.load(params)
        return loaded if jax.process_count() == 1 or self.mesh is None else jax.tree.map(self._own, loaded)

    def _own(self, x: jax.Array) -> jax.Array:
        """This process's copy of an array that is split over the tensor axis alone."""
        where = jax.NamedSharding(self.mesh, x.sharding.spec)
        pieces = {shard.device: shard.data for shard in x.addressable_shards}
        return jax.make_array_from_single_device_arrays(x.shape, where, [pieces[device] for device in where.addressable_devices_indices_map(x.shape)])

    @property
    def compilations(self) -> int:
        """Shapes compiled so far."""
        functions = (getattr(self.functions, field.name) for field in dataclasses.fields(Functions))
        return sum(function._cache_size() for function in functions)

    @property
    def shards(self) -> int:
        """Devices over which places and lanes lie."""
        return 1 if self.mesh is None else self.mesh.shape["data"] * self.mesh.shape["fsdp"]

    def bound(self, used: int, slots: int) -> int:
        """Slots that a call reads where `used` of `slots` may hold something."""
        return min(slots, power_of_two(used, self.buckets.slots))

    def seats(self, room: Room, shared: bool, needed: int) -> int:
        """Seats of a device that a chunk decodes where `needed` rows of one speak, in a turn that is shared or not."""
        if self.narrow:
            return share_of(room.seats // self.shards, needed, self.buckets.seats)
        return min(room.places if shared else room.seats, room.seats) // self.shards

    def places(self, room: Room, needed: int) -> int:
        """Places of a device that a chunk reads where rows of `needed` trees speak."""
        each = room.places // self.shards
        return share_of(each, needed, -(-self.buckets.seats // room.rows)) if self.narrow else each

    def caches(self, room: Room) -> tuple[Prefix, Rows]:
        """Empty prefixes and rows, placed."""
        return self.functions.empty(room)

    def abstract_caches(self, room: Room) -> tuple[Prefix, Rows]:
        """Their shapes and places."""
        made = jax.eval_shape(lambda: empty_caches(self.config, room))
        if self.mesh is None:
            return made
        return jax.tree.map(
            lambda place, held: jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place), held), cache_places(self.mesh), made
        )


def empty_caches(config: Config, room: Room) -> tuple[Prefix, Rows]:
    """Prefixes and rows that hold nothing, of a room."""
    text, dtype = config.text, jnp.dtype(config.dtype)
    held, seen = jnp.dtype(jnp.int8) if room.int8 else dtype, text.vocab if room.penalised else 0
    prefix = cache_lib.empty_prefix(text.layers, room.places, text.kv_heads, room.prefix, text.head_dim, held)
    return prefix, cache_lib.empty_rows(text.layers, room.seats, text.kv_heads, room.suffix, text.head_dim, held, text.hidden, seen, dtype)


def cache_places(mesh) -> tuple[Prefix, Rows]:
    """Where the caches lie on a mesh."""
    return jax.tree.map(lambda one: jax.NamedSharding(mesh, one), (cache_lib.prefix_specs(), cache_lib.rows_specs()))


def worth_taking_apart(config: Config, platform: str) -> bool:
    """Whether decoding goes faster through blocks of which each has arrays of its own. On CPUs XLA copies a block out of the stack at every
    turn of the layer loop; small blocks stay in the processor's cache, and the loop runs them faster. Elsewhere the loop, which compiles one
    block, stays."""
    return platform == "cpu" and config.block_parameters() * jnp.dtype(config.dtype).itemsize > 4 << 20


def functions_of(given, config: Config, encoder: Encoder, mesh, apart: bool) -> Functions:
    """Jitted once for a policy, whose graphdef as it is trained is `given`."""
    forbidden = np.zeros(config.text.vocab, bool)
    forbidden[encoder.forbidden_ids(config.text.vocab)] = True

    def loaded(params):
        model = nnx.merge(given, params)
        if apart:
            model.text.take_apart()
        return model

    graphdef, abstract = nnx.split(nnx.eval_shape(loaded, nnx.state(abstract_model(config))))
    placed = None if mesh is None else shardings(abstract, mesh, SAMPLING)

    def load(params):
        return jax.tree.map(lambda x: x.astype(config.dtype), nnx.state(loaded(params)))

    def empty(room):
        return empty_caches(config, room)

    def start(params, prefix, speech, given, lanes):
        return decode_lib.start(nnx.merge(graphdef, params), prefix, speech, given, lanes)

    def proceed(params, prefix, said, speech, given, lanes, most, bound):
        return decode_lib.proceed(nnx.merge(graphdef, params), prefix, said, speech, given, lanes, most, bound)

    def append(params, prefix, rows, given, lanes, bounds):
        return decode_lib.append(nnx.merge(graphdef, params), prefix, rows, given, lanes, bounds)

    def decode(params, prefix, rows, seating, steps, bounds, filtered):
        model = nnx.merge(graphdef, params)
        return decode_lib.decode(model, prefix, rows, seating, jnp.asarray(forbidden), encoder.end_id, steps, bounds, filtered)

    def exchange(held, pairs):
        return cache_lib.exchange(held, pairs)

    return Functions(
        load=jax.jit(load, out_shardings=placed),
        empty=jax.jit(empty, static_argnums=0, out_shardings=None if mesh is None else cache_places(own_mesh(mesh))),
        start=jax.jit(start, donate_argnums=(1, 2)),
        proceed=jax.jit(proceed, static_argnames=("most", "bound"), donate_argnums=(1, 3)),
        append=jax.jit(append, static_argnames="bounds", donate_argnums=2),
        decode=jax.jit(decode, static_argnames=("steps", "bounds", "filtered"), donate_argnums=2),
        exchange=jax.jit(exchange, donate_argnums=0),
    )
