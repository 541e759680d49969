"""The sampler: host side of decoding. It lays out tokens, picks padded shapes and calls the jitted functions.

Axes: B charts, G rows of a chart, Q given tokens, N new tokens, I images, W windows, M merged tokens.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from recoder_jax.dialogue.encoder import Encoder, Tokens
from recoder_jax.models.qwen2_5_vl.config import Config
from recoder_jax.models.qwen2_5_vl.positions import mrope_positions
from recoder_jax.models.qwen2_5_vl.windows import vision_inputs, vision_shapes, windows_needed
from recoder_jax.models.qwen2_5_vl.model import abstract_model
from recoder_jax.sampling import cache as cache_lib
from recoder_jax.sampling import decode as decode_lib
from recoder_jax.sampling.buckets import power_of_two, quarter_step
from recoder_jax.sampling.cache import Cache
from recoder_jax.sampling.decode import Given, Sampled
from recoder_jax.sharding import SAMPLING, placement, shardings


@dataclasses.dataclass(frozen=True)
class Buckets:
    """Padded sizes. Every size that jit sees is a multiple (tokens) or a power of two (images, windows), so that the
    number of compilations is bounded by the number of buckets."""

    tokens: int = 32
    images: int = 1
    windows: int = 4

    def length(self, count: int) -> int:
        return max(1, -(-count // self.tokens)) * self.tokens


@dataclasses.dataclass(frozen=True)
class Functions:
    """The jitted functions of a sampler: load(params), start(params, given), append(params, cache, given), decode(params, cache, keys,
    temperature, steps) and branch(cache, group, slots); `append` and `decode` take the cache over."""

    load: Callable
    start: Callable
    append: Callable
    decode: Callable
    branch: Callable


class Sampler:
    """Prefill, branch, decode and append for batches of groups, with the parameters given at each call.

    Parameters are those that `load` makes of a policy's. Built once; the jitted functions keep their compilations for as long as
    the sampler lives.
    """

    def __init__(self, graphdef, config: Config, encoder: Encoder, buckets: Buckets = Buckets(), mesh=None):
        self.graphdef, self.config, self.encoder, self.buckets, self.mesh = graphdef, config, encoder, buckets, mesh
        forbidden = np.zeros(config.text.vocab, bool)
        forbidden[encoder.forbidden_ids(config.text.vocab)] = True

        placed = None if mesh is None else shardings(nnx.state(abstract_model(config)), mesh, SAMPLING)

        def load(params):
            return jax.tree.map(lambda x: x.astype(config.dtype), params)

        def start(params, given):
            return decode_lib.prefill(nnx.merge(graphdef, params), given)

        def append(params, cache, given):
            return decode_lib.append(nnx.merge(graphdef, params), cache, given)

        def decode(params, cache, keys, temperature, steps):
            model = nnx.merge(graphdef, params)
            return decode_lib.decode(model, cache, keys, jnp.asarray(forbidden), encoder.end_id, steps, temperature)

        self.functions = Functions(
            load=jax.jit(load, out_shardings=placed),
            start=jax.jit(start),
            append=jax.jit(append, donate_argnums=1),
            decode=jax.jit(decode, static_argnames="steps", donate_argnums=1),
            branch=jax.jit(cache_lib.branch, static_argnames=("group", "slots")),
        )

    def load(self, params):
        """The weights that decoding reads at every token: a copy in the dtype of activations, split over the tensor axis alone, since
        to gather the parts of fully sharded weights for every token would take longer than to read them."""
        return self.functions.load(params)

    def start(self, params, prompts: Sequence[Tokens]) -> Cache:
        """Prefill one prompt a chart. The cache holds one row a chart, with no room behind the prompt: branch next."""
        given = self._given([[prompt] for prompt in prompts], np.zeros((len(prompts), 1), np.int32))
        return self.functions.start(params, self._place(given))

    def branch(self, cache: Cache, group: int, slots: int) -> Cache:
        """Open `group` rows of `slots` slots for every chart."""
        return self.functions.branch(cache, group=group, slots=self.buckets.length(slots))

    def append(self, params, cache: Cache, pieces: Sequence[Sequence[Tokens]]) -> Cache:
        """Append given tokens, `pieces[b][g]`, to every row."""
        given = self._given(pieces, jax.device_get(cache.position))
        check_room(cache, given.tokens.shape[2])
        return self.functions.append(params, cache, self._place(given))

    def decode(self, params, cache: Cache, keys, steps: int, temperature: float) -> tuple[Cache, Sampled]:
        """Let every row say up to `steps` tokens. keys: PRNG keys [B, G]. The result is on the host as numpy arrays."""
        check_room(cache, steps)
        cache, sampled = self.functions.decode(params, cache, keys, jnp.float32(temperature), steps=steps)
        return cache, jax.device_get(sampled)

    def _given(self, pieces, start) -> Given:
        """Lay out pieces [b][g] whose first tokens stand at positions `start` [B, G]."""
        charts, rows = len(pieces), len(pieces[0])
        images, (count, image_count, windows) = self._sizes(pieces)
        tokens = np.full((charts, rows, count), self.encoder.pad_id, np.int32)
        positions = np.zeros((3, charts, rows, count), np.int32)
        valid = np.zeros((charts, rows, count), bool)
        image_slot = np.full((charts, rows, count), -1, np.int32)
        following = np.array(start, np.int32)
        place = {key: index * windows * 16 for index, key in enumerate(images)}
        for b, row in enumerate(pieces):
            for g, piece in enumerate(row):
                n = len(piece.ids)
                grids = [image.grid for image in piece.images]
                tokens[b, g, :n] = piece.ids
                valid[b, g, :n] = True
                positions[:, b, g, :n], following[b, g] = mrope_positions(
                    piece.ids, grids, self.config.image_id, int(start[b, g])
                )
                image_slot[b, g, :n] = image_slots(piece, self.config.image_id, place)
        vision = vision_inputs(list(images.values()), image_count, windows, windows * 16)
        return Given(tokens, positions, valid, image_slot, following, vision)

    def _sizes(self, pieces) -> tuple[dict, tuple[int, int, int]]:
        """The images of pieces [b][g] by content key, and the padded numbers Q, I, W of their layout."""
        count = self.buckets.length(max(len(piece.ids) for row in pieces for piece in row))
        images = unique_images([piece for row in pieces for piece in row])
        windows = quarter_step(max((windows_needed(i.grid) for i in images.values()), default=1), self.buckets.windows)
        return images, (count, power_of_two(len(images), self.buckets.images), windows)

    def abstract_given(self, pieces: Sequence[Sequence[Tokens]]) -> Given:
        """The shapes, dtypes and places of what is given to the device for pieces [b][g]; reads no pixels."""
        _, (count, image_count, windows) = self._sizes(pieces)
        rows = (len(pieces), len(pieces[0]))
        whole = jax.ShapeDtypeStruct((*rows, count), np.int32)
        given = Given(
            tokens=whole, positions=jax.ShapeDtypeStruct((3, *rows, count), np.int32),
            valid=jax.ShapeDtypeStruct(whole.shape, np.bool_), image_slot=whole,
            next_position=jax.ShapeDtypeStruct(rows, np.int32), vision=vision_shapes(image_count, windows, windows * 16),
        )
        return jax.tree.map(lambda x, where: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where), given, self._placement(given))

    def _placement(self, given: Given) -> Given:
        """Charts and images lie over the batch axes; without a mesh jit places what it is given."""

        def where(name: str, x):
            axes = (None, "batch") if name == "positions" else ("batch",)
            return self.mesh and placement(x.shape, axes + (None,) * (len(x.shape) - len(axes)), self.mesh)

        fields = {f.name: getattr(given, f.name) for f in dataclasses.fields(given)}
        return Given(**{name: jax.tree.map(lambda x: where(name, x), value) for name, value in fields.items()})

    def _place(self, given: Given) -> Given:
        """Put host arrays on the mesh."""
        return given if self.mesh is None else jax.tree.map(jax.device_put, given, self._placement(given))


def check_room(cache: Cache, count: int) -> None:
    """Refuse to write past the last slot, which on the device would overwrite earlier tokens."""
    slots, cursor = cache.past.suffix_k.shape[4], int(cache.cursor)
    if cursor + count > slots:
        raise ValueError(f"{count} more tokens do not fit: {cursor} of {slots} suffix slots are taken; branch with more slots")


def unique_images(pieces: Sequence[Tokens]) -> dict:
    """The images of several pieces, each once, by content key, in order of first appearance."""
    return {image.key: image for piece in pieces for image in piece.images}


def image_slots(piece: Tokens, image_id: int, place: dict[str, int]) -> np.ndarray:
    """Row of the flattened image features that stands at each token: int32 [n], -1 for text.

    place: first row of each image by content key.
    """
    slots = np.full(len(piece.ids), -1, np.int32)
    if piece.images:
        rows = [place[i.key] + np.arange(i.grid[0] * i.grid[1] // 4) for i in piece.images]
        slots[np.asarray(piece.ids) == image_id] = np.concatenate(rows)
    return slots


@functools.partial(jax.jit, static_argnames=("rows",))
def row_keys(seed, step, charts, turn, rows: int):
    """PRNG keys [B, G]: fold_in of (seed, step, chart, branch, turn), so any single response can be drawn again alone.

    charts: int32 [B], index of each chart in the step's batch.
    """
    base = jax.random.fold_in(jax.random.key(seed), step)

    def one(chart, branch):
        return jax.random.fold_in(jax.random.fold_in(jax.random.fold_in(base, chart), branch), turn)

    return jax.vmap(lambda chart: jax.vmap(lambda row: one(chart, row))(jnp.arange(rows)))(charts)
