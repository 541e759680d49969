"""Reading given tokens and decoding new ones, on the device.

Axes: C places, R rows of a place, A lanes, Q given tokens, E new tokens, I images, M merged tokens of an image, D model, V vocabulary.
"""

import dataclasses

import jax
import jax.numpy as jnp

from recoder_jax.models.qwen2_5_vl.attention import Past
from recoder_jax.models.qwen2_5_vl.windows import VisionInputs
from recoder_jax.sampling import cache as cache_lib
from recoder_jax.sampling.cache import Lanes, Prefix, Rows, Speech, by_place, lanes_specs, on_shards, prefix_specs, rows_specs, speech_specs
from recoder_jax.sampling.drawing import draw
from recoder_jax.sharding import SAMPLING, constrain, spec


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Given:
    """Tokens that lanes read: prompts, or feedback after a turn.

    tokens: int32 [A, Q]. positions: int32 [3, A, Q]. count: int32 [A], valid tokens, which come first. image_slot: int32 [A, Q], row of the
    flattened image features [I * M] that stands at this token, -1 for text. next_position: int32 [A], position after the last valid
    token. vision: the images of all lanes, or None.
    """

    tokens: jax.Array
    positions: jax.Array
    count: jax.Array
    image_slot: jax.Array
    next_position: jax.Array
    vision: VisionInputs | None


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Chunk:
    """What rows said in a chunk. tokens: int32 [C, R, E], zero from `count` on. logprobs: float32 [C, R, E], of the sampled tokens under the
    full distribution at temperature 1. count: int32 [C, R]. ended: bool [C, R], the last of them is the end token."""

    tokens: jax.Array
    logprobs: jax.Array
    count: jax.Array
    ended: jax.Array


def start(model, prefix: Prefix, speech: Speech, given: Given, lanes: Lanes) -> tuple[Prefix, Speech]:
    """Read prompts into the prefixes of empty places, and let rows speak behind them."""
    nothing = Past(*_first((prefix.k, prefix.v), 3, 0), _until(prefix.length, 0), *_no_suffix(model, prefix))
    return _into_prefix(model, prefix, speech, given, lanes, nothing, 0)


def proceed(model, prefix: Prefix, trunk: tuple, speech: Speech, given: Given, lanes: Lanes, bound: int) -> tuple[Prefix, Speech]:
    """Fold what the trunk said, keys and values [L, C, 1, K, S, H], into the prefixes, read feedback behind it, and let rows speak.

    speech: of those rows, which are the trunk's own where another turn is shared. bound: prefix slots that can hold anything.
    """
    trunks = spec(cache_lib.SUFFIX, SAMPLING)
    fold = on_shards(cache_lib.fold, (prefix_specs(), trunks, trunks, lanes_specs()), prefix_specs())
    folded = fold(prefix, *trunk, lanes)
    past = Past(folded.k, folded.v, _until(folded.length, bound), *_no_suffix(model, folded))
    return _into_prefix(model, folded, speech, given, lanes, past, bound)


def append(model, prefix: Prefix, rows: Rows, given: Given, lanes: Lanes, bounds: tuple[int, int]) -> Rows:
    """Read feedback behind what single rows hold, and let them speak. bounds: slots of prefix and suffix that can hold anything."""
    # what a row holds by the host: it may have been cut before the end of what it said
    past = Past(prefix.k, prefix.v, _until(prefix.length, bounds[0]), rows.k, rows.v, _until(lanes.offset[:, None], bounds[1]))

    def view(one: Past) -> Past:
        shared = _of_places(one.prefix_k, one.prefix_v, one.prefix_valid, lanes, bounds[0])
        return Past(*shared, *_of_rows(one.suffix_k, one.suffix_v, lanes, bounds[1]), one.suffix_valid)

    k, v, last = read(model, past, given, view)

    def write(rows, k, v, lanes, position, last, count, seen):
        rows = cache_lib.write_row(rows, k, v, lanes)
        before = rows.speech.seen[lanes.place, lanes.row] if seen.shape[-1] else seen
        speech = cache_lib.speak(rows.speech, lanes, position, last, lanes.offset + count, before | seen)
        return dataclasses.replace(rows, speech=speech)

    ins = (rows_specs(), _new_specs(), _new_specs(), lanes_specs(), *[by_place()] * 4)
    run = on_shards(write, ins, rows_specs())
    return run(rows, k, v, lanes, given.next_position, last, given.count, _seen(given, rows.speech))


def _into_prefix(model, prefix: Prefix, speech: Speech, given: Given, lanes: Lanes, past: Past, bound: int) -> tuple[Prefix, Speech]:
    def view(one: Past) -> Past:
        own = jnp.zeros((lanes.place.shape[0], 1, *one.suffix_k.shape[2:]), model.config.dtype)
        shared = _of_places(one.prefix_k, one.prefix_v, one.prefix_valid, lanes, bound)
        return Past(*shared, own, own, jnp.zeros((*own.shape[:2], 0), bool))

    k, v, last = read(model, past, given, view)

    def write(prefix, speech, k, v, lanes, position, last, count, seen):
        prefix = cache_lib.write_prefix(prefix, k, v, count, lanes)
        return prefix, cache_lib.speak(speech, lanes, position, last, jnp.zeros_like(count), seen)

    ins = (prefix_specs(), speech_specs(), _new_specs(), _new_specs(), lanes_specs(), *[by_place()] * 4)
    run = on_shards(write, ins, (prefix_specs(), speech_specs()))
    return run(prefix, speech, k, v, lanes, given.next_position, last, given.count, _seen(given, speech))


def read(model, past: Past, given: Given, view):
    """Given tokens behind a past: their keys and values [L, A, 1, K, Q, H], and the last valid token's final state [A, D]."""
    lanes, count = given.tokens.shape
    if given.vision is None:
        features = jnp.zeros((1, model.config.text.hidden), model.config.dtype)
    else:
        features = model.encode_images(given.vision)  # [I, M, D]
    x = model.embed(given.tokens, features.reshape(-1, features.shape[-1]), given.image_slot)
    valid = jnp.arange(count) < given.count[:, None]
    x, k, v = model.extend(x[:, None], given.positions[:, :, None], past, valid[:, None], view)
    end = jnp.maximum(given.count - 1, 0)
    return k, v, jnp.take_along_axis(x[:, 0], end[:, None, None], axis=1)[:, 0]


def decode(
    model, prefix: Prefix, rows: Rows, silenced, forbidden, end_id: int, steps: int, bounds: tuple[int, int], filtered: bool
) -> tuple[Rows, Chunk]:
    """Draw up to `steps` tokens for every active row in one loop on the device, ending when no row is active.

    silenced: bool [C, R], rows that stop before the chunk. forbidden: bool [V], ids that are never drawn. bounds: slots of prefix and
    suffix that can hold anything. filtered: as of `draw`.
    """
    speech = dataclasses.replace(rows.speech, active=rows.speech.active & ~silenced)
    places, width = speech.active.shape
    past = Past(prefix.k, prefix.v, _until(prefix.length, bounds[0]), rows.k, rows.v, _until(speech.length, bounds[1]))
    fresh = jax.tree.map(lambda held: _fresh((*held.shape[:4], steps, *held.shape[5:]), held.dtype), rows.k)
    nothing = Chunk(
        tokens=jnp.zeros((places, width, steps), jnp.int32), logprobs=jnp.zeros((places, width, steps), jnp.float32),
        count=jnp.zeros((places, width), jnp.int32), ended=jnp.zeros((places, width), bool),
    )

    def view(one: Past) -> Past:
        prefix_k, prefix_v = _first((one.prefix_k, one.prefix_v), 2, bounds[0])
        suffix_k, suffix_v = _first((one.suffix_k, one.suffix_v), 3, bounds[1])
        return dataclasses.replace(one, prefix_k=prefix_k, prefix_v=prefix_v, suffix_k=suffix_k, suffix_v=suffix_v)

    def unfinished(carry):
        n, speech, *_ = carry
        return (n < steps) & speech.active.any()

    def one_token(carry):
        n, speech, recent, chunk = carry
        token, logprob = draw(model.logits(speech.last), speech.key, speech.said, speech.controls, forbidden, speech.seen, filtered)
        token = jnp.where(speech.active, token, 0)
        spoken, chunk = _heard(speech, chunk, token, logprob, n, end_id)
        x = model.embed(token, jnp.zeros((1, speech.last.shape[-1]), speech.last.dtype), jnp.full_like(token, -1))
        positions = jnp.broadcast_to(speech.position[None, :, :, None], (3, places, width, 1))
        earlier = dataclasses.replace(
            past, recent_k=recent[0], recent_v=recent[1], recent_valid=(jnp.arange(steps) < n) & speech.active[..., None]
        )
        x, k, v = model.extend(x[:, :, None], positions, earlier, speech.active[..., None], view)
        new = tuple(cache_lib.as_held(a, rows.k) for a in (k, v))
        recent = jax.tree.map(lambda held, new: jax.lax.dynamic_update_slice_in_dim(held, new, n, axis=4), recent, new)
        last = jnp.where(speech.active[..., None], x[:, :, 0], speech.last)
        return n + 1, dataclasses.replace(spoken, last=last), recent, chunk

    _, speech, recent, chunk = jax.lax.while_loop(unfinished, one_token, (jnp.int32(0), speech, (fresh, fresh), nothing))
    suffix = spec(cache_lib.SUFFIX, SAMPLING)
    settle = on_shards(cache_lib.settle, (suffix, suffix, by_place()), suffix)
    k, v = (settle(held, new, speech.length) for held, new in zip((rows.k, rows.v), recent, strict=True))
    return Rows(k, v, dataclasses.replace(speech, length=speech.length + chunk.count)), chunk


def _heard(speech: Speech, chunk: Chunk, token, logprob, n, end_id: int) -> tuple[Speech, Chunk]:
    """Speech and chunk after the active rows said `token`, in slot n of the chunk. `length` moves when the chunk is settled."""
    active = speech.active
    chunk = Chunk(
        tokens=jax.lax.dynamic_update_slice_in_dim(chunk.tokens, token[..., None], n, axis=2),
        logprobs=jax.lax.dynamic_update_slice_in_dim(chunk.logprobs, jnp.where(active, logprob, 0.0)[..., None], n, axis=2),
        count=chunk.count + active, ended=chunk.ended | (token == end_id) & active,
    )
    seen = speech.seen
    if seen.shape[-1]:
        seen = seen | active[..., None] & (jnp.arange(seen.shape[-1]) == token[..., None])
    spoken = dataclasses.replace(
        speech, position=speech.position + active, said=speech.said + active, left=speech.left - active, seen=seen,
        active=active & (token != end_id) & (speech.left > 1),
    )
    return spoken, chunk


def _until(length, bound: int):
    """Validity of the first `bound` slots: bool [..., bound]."""
    return jnp.arange(bound) < length[..., None]


def _fresh(shape: tuple, dtype) -> jax.Array:
    """Room for what rows say in a chunk, [L, C, R, K, E] and more."""
    return constrain(jnp.zeros(shape, dtype), (*cache_lib.SUFFIX, *[None] * (len(shape) - len(cache_lib.SUFFIX))))


def _first(held, axis: int, bound: int):
    """The first `bound` slots of keys and values, whose slots are their axis `axis`."""
    return jax.tree.map(lambda a: jax.lax.slice_in_dim(a, 0, bound, axis=axis), held)


def _no_suffix(model, prefix: Prefix) -> tuple:
    layers, places, heads, _, head_dim = prefix.k.shape
    nothing = jnp.zeros((layers, places, 1, heads, 0, head_dim), model.config.dtype)
    return nothing, nothing, jnp.zeros((places, 1, 0), bool)


def _of_places(k, v, valid, lanes: Lanes, bound: int) -> tuple:
    """The first slots of the lanes' prefixes, of one layer: [A, K, bound, H] twice and bool [A, bound]."""
    prefix = spec(cache_lib.PREFIX[1:], SAMPLING)

    def take(held, place):
        return jax.tree.map(lambda a: a[:, :, :bound][place], held)

    pick = on_shards(take, (prefix, by_place()), prefix)
    return pick(k, lanes.place), pick(v, lanes.place), on_shards(lambda a, place: a[place], (by_place(), by_place()), by_place())(valid, lanes.place)


def _of_rows(k, v, lanes: Lanes, bound: int) -> tuple:
    """The first slots of the lanes' rows, of one layer: [A, 1, K, bound, H] twice."""
    suffix = spec(cache_lib.SUFFIX[1:], SAMPLING)

    def take(held, place, row):
        return jax.tree.map(lambda a: a[:, :, :, :bound][place, row][:, None], held)

    pick = on_shards(take, (suffix, by_place(), by_place()), suffix)
    return pick(k, lanes.place, lanes.row), pick(v, lanes.place, lanes.row)


def _new_specs():
    """Of keys and values [L, A, 1, K, Q, H] that lanes read."""
    return spec(cache_lib.SUFFIX, SAMPLING)


def _seen(given: Given, speech: Speech):
    """Ids among the given tokens: bool [A, V], or [A, 0] where nobody asks."""
    lanes, count = given.tokens.shape
    size = speech.seen.shape[-1]
    if not size:
        return jnp.zeros((lanes, 0), bool)
    valid = jnp.arange(count) < given.count[:, None]
    return jnp.zeros((lanes, size), bool).at[jnp.arange(lanes)[:, None], given.tokens].max(valid)
