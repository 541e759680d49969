"""Reading given tokens and decoding new ones, on the device.

Axes: L layers, C places, N seats, n and c the first of them that a chunk has, A lanes, K key/value heads, P prefix slots, S suffix slots, Q given
tokens, E new tokens, I images, M merged tokens of an image, H head dimension, D model, V vocabulary.
"""

import dataclasses

import jax
import jax.numpy as jnp

from recoder_jax.models.qwen2_5_vl.past import Past, Sharing, stacked, with_token
from recoder_jax.models.qwen2_5_vl.windows import VisionInputs
from recoder_jax.sampling import cache as cache_lib
from recoder_jax.sampling.cache import Lanes, Prefix, Rows, Seating, Speech, by_place, lanes_specs, prefix_specs, rows_specs, speech_specs
from recoder_jax.sampling.drawing import draw
from recoder_jax.sharding import SAMPLING, constrain, on_shards, spec


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
    """What rows said in a chunk. tokens: int32 [N, E], zero from `count` on. logprobs: float32 [N, E], of the sampled tokens under the full
    distribution at temperature 1. count: int32 [N]. ended: bool [N], the last of them is the end token."""

    tokens: jax.Array
    logprobs: jax.Array
    count: jax.Array
    ended: jax.Array


def start(model, prefix: Prefix, speech: Speech, given: Given, lanes: Lanes) -> tuple[Prefix, Speech]:
    """Read prompts into the prefixes of empty places, and let rows speak behind them."""
    return _into_prefix(model, prefix, speech, given, lanes, 0)


def proceed(model, prefix: Prefix, said: tuple, speech: Speech, given: Given, lanes: Lanes, most: int, bound: int) -> tuple[Prefix, Speech]:
    """Fold what rows said in a shared turn, keys and values [L, N, K, S, H] twice, at most `most` tokens of each, into the prefixes, read
    feedback behind it, and let rows speak. bound: prefix slots that can hold anything."""
    held = spec(cache_lib.HELD, SAMPLING)
    fold = on_shards(lambda *given: cache_lib.fold(*given, most), (prefix_specs(), held, held, lanes_specs()), prefix_specs())
    return _into_prefix(model, fold(prefix, *said, lanes), speech, given, lanes, bound)


def append(model, prefix: Prefix, rows: Rows, given: Given, lanes: Lanes, bounds: tuple[int, int]) -> Rows:
    """Read feedback behind what single rows hold, and let them speak. bounds: slots of prefix and suffix that can hold anything."""
    # what a row holds by the host: it may have been cut before the end of what it said
    past = Past(prefix.k, prefix.v, _filled(prefix.length, lanes.place, bounds[0]), rows.k, rows.v, _until(lanes.offset, bounds[1]))

    def view(one: Past) -> Past:
        shared = (_of(held, lanes.place, bounds[0]) for held in (one.prefix_k, one.prefix_v))
        return Past(*shared, one.prefix_valid, *(_of(held, lanes.seat, bounds[1]) for held in (one.suffix_k, one.suffix_v)), one.suffix_valid)

    k, v, last = read(model, past, given, view)

    def write(rows, k, v, lanes, position, last, count, seen):
        rows = cache_lib.write_row(rows, k, v, lanes)
        before = rows.speech.seen[lanes.seat] if seen.shape[-1] else seen
        speech = cache_lib.speak(rows.speech, lanes, position, last, lanes.offset + count, before | seen)
        return dataclasses.replace(rows, speech=speech)

    ins = (rows_specs(), *[spec(cache_lib.HELD, SAMPLING)] * 2, lanes_specs(), *[by_place()] * 4)
    run = on_shards(write, ins, rows_specs())
    return run(rows, k, v, lanes, given.next_position, last, given.count, _seen(given, rows.speech))


def _into_prefix(model, prefix: Prefix, speech: Speech, given: Given, lanes: Lanes, bound: int) -> tuple[Prefix, Speech]:
    layers, _, heads, _, head_dim = prefix.k.shape
    nothing = jnp.zeros((layers, len(lanes.place), heads, 0, head_dim), model.config.dtype)
    past = Past(prefix.k, prefix.v, _filled(prefix.length, lanes.place, bound), nothing, nothing, jnp.zeros((len(lanes.place), 0), bool))

    def view(one: Past) -> Past:
        shared = [_of(held, lanes.place, bound) for held in (one.prefix_k, one.prefix_v)]
        return dataclasses.replace(one, prefix_k=shared[0], prefix_v=shared[1])

    k, v, last = read(model, past, given, view)

    def write(prefix, speech, k, v, lanes, position, last, count, seen):
        prefix = cache_lib.write_prefix(prefix, k, v, count, lanes)
        return prefix, cache_lib.speak(speech, lanes, position, last, jnp.zeros_like(count), seen)

    ins = (prefix_specs(), speech_specs(), *[spec(cache_lib.HELD, SAMPLING)] * 2, lanes_specs(), *[by_place()] * 4)
    run = on_shards(write, ins, (prefix_specs(), speech_specs()))
    return run(prefix, speech, k, v, lanes, given.next_position, last, given.count, _seen(given, speech))


def read(model, past: Past, given: Given, view):
    """Given tokens behind a past: their keys and values [L, A, K, Q, H], and the last valid token's final state [A, D]."""
    if given.vision is None:
        features = jnp.zeros((1, model.config.text.hidden), model.config.dtype)
    else:
        features = model.encode_images(given.vision)  # [I, M, D]
    x = model.embed(given.tokens, features.reshape(-1, features.shape[-1]), given.image_slot)
    x, k, v = model.extend(x, given.positions, past, _until(given.count, given.tokens.shape[1]), view, only=jnp.maximum(given.count - 1, 0))
    return k, v, x[:, 0]


def decode(
    model, prefix: Prefix, rows: Rows, seating: Seating, forbidden, end_id: int, steps: int, bounds: tuple[int, int], filtered: bool
) -> tuple[Rows, Chunk]:
    """Draw up to `steps` tokens for every row that speaks in one loop on the device, ending when none does.

    seating: of n seats, which the chunk has, and of c places. forbidden: bool [V], ids that are never drawn. bounds: slots of prefix and
    suffix that can hold anything. filtered: as of `draw`.
    """
    speech, length = _first(rows.speech, seating.speaks, speech_specs()), _first(prefix.length, seating.rows, by_place())
    count, before = len(seating.speaks), speech.active
    speech = dataclasses.replace(speech, active=before & seating.speaks)
    valid = {"prefix_valid": _until(length, bounds[0]), "suffix_valid": _until(speech.length, bounds[1])}
    fresh = jax.tree.map(lambda held: _fresh((held.shape[0], count, held.shape[2], steps, *held.shape[4:]), held.dtype), rows.k)
    past = Past(
        prefix_k=prefix.k, prefix_v=prefix.v, suffix_k=rows.k, suffix_v=rows.v, recent_k=fresh, recent_v=fresh,
        sharing=Sharing(seating.home, seating.rows), **valid,
    )  # fmt: skip
    nothing = Chunk(
        tokens=jnp.zeros((count, steps), jnp.int32), logprobs=jnp.zeros((count, steps), jnp.float32), count=jnp.zeros(count, jnp.int32),
        ended=jnp.zeros(count, bool),
    )  # fmt: skip

    def view(one: Past) -> Past:
        heads = spec(cache_lib.HELD[1:], SAMPLING)
        prefix_k, prefix_v = (_first(held, seating.rows, heads, bounds[0]) for held in (one.prefix_k, one.prefix_v))
        suffix_k, suffix_v = (_first(held, seating.speaks, heads, bounds[1]) for held in (one.suffix_k, one.suffix_v))
        return dataclasses.replace(one, prefix_k=prefix_k, prefix_v=prefix_v, suffix_k=suffix_k, suffix_v=suffix_v)

    past, view = model.text.by_layer(past, view)

    def unfinished(carry):
        n, speech, *_ = carry
        return (n < steps) & speech.active.any()

    def one_token(carry):
        n, speech, recent, chunk = carry
        token, logprob = draw(model.logits(speech.last), speech.key, speech.said, speech.controls, forbidden, speech.seen, filtered)
        token = jnp.where(speech.active, token, 0)
        spoken, chunk = _heard(speech, chunk, token, logprob, n, end_id)
        x = model.embed(token, jnp.zeros((1, speech.last.shape[-1]), speech.last.dtype), jnp.full_like(token, -1))
        positions = jnp.broadcast_to(speech.position[None, :, None], (3, count, 1))
        earlier = dataclasses.replace(
            past, recent_k=recent[0], recent_v=recent[1], recent_valid=(jnp.arange(steps) < n) & speech.active[:, None]
        )
        x, k, v = model.extend(x[:, None], positions, earlier, speech.active[:, None], view)
        new = tuple(cache_lib.as_held(a, rows.k) for a in (k, v))
        recent = tuple(with_token(held, one, n) for held, one in zip(recent, new, strict=True))
        last = jnp.where(speech.active[:, None], x[:, 0], speech.last)
        return n + 1, dataclasses.replace(spoken, last=last), recent, chunk

    _, speech, recent, chunk = jax.lax.while_loop(unfinished, one_token, (jnp.int32(0), speech, (past.recent_k, past.recent_v), nothing))
    speech = dataclasses.replace(speech, active=jnp.where(seating.speaks, speech.active, before))

    def settle(rows, recent, speech, said):
        k, v = (cache_lib.settle(held, new, speech.length) for held, new in zip((rows.k, rows.v), recent, strict=True))
        speech = dataclasses.replace(speech, length=speech.length + said)
        return Rows(k, v, jax.tree.map(lambda whole, part: jax.lax.dynamic_update_slice_in_dim(whole, part, 0, 0), rows.speech, speech))

    held, recent = spec(cache_lib.HELD, SAMPLING), tuple(stacked(one) for one in recent)
    return on_shards(settle, (rows_specs(), (held, held), speech_specs(), by_place()), rows_specs())(rows, recent, speech, chunk.count), chunk


def _heard(speech: Speech, chunk: Chunk, token, logprob, n, end_id: int) -> tuple[Speech, Chunk]:
    """Speech and chunk after the active rows said `token`, in slot n of the chunk. `length` moves when the chunk is settled."""
    active = speech.active
    chunk = Chunk(
        tokens=jax.lax.dynamic_update_slice_in_dim(chunk.tokens, token[:, None], n, axis=1),
        logprobs=jax.lax.dynamic_update_slice_in_dim(chunk.logprobs, jnp.where(active, logprob, 0.0)[:, None], n, axis=1),
        count=chunk.count + active, ended=chunk.ended | (token == end_id) & active,
    )
    seen = speech.seen
    if seen.shape[-1]:
        seen = seen | active[:, None] & (jnp.arange(seen.shape[-1]) == token[:, None])
    spoken = dataclasses.replace(
        speech, position=speech.position + active, said=speech.said + active, left=speech.left - active, seen=seen,
        active=active & (token != end_id) & (speech.left > 1),
    )
    return spoken, chunk


def _until(length, bound: int):
    """Validity of the first `bound` slots: bool [..., bound]."""
    return jnp.arange(bound) < length[..., None]


def _fresh(shape: tuple, dtype) -> jax.Array:
    """Room for what rows say in a chunk, [L, n, K, E] and more."""
    return constrain(jnp.zeros(shape, dtype), (*cache_lib.HELD, *[None] * (len(shape) - len(cache_lib.HELD))))


def _first(held, like, specs, bound: int | None = None):
    """The first places or seats of each device, as many as `like` has of it, and of keys and values the first `bound` slots: arrays whose
    first axis is places or seats."""
    def take(held, like):
        return jax.tree.map(lambda a: a[: len(like)] if bound is None else a[: len(like), :, :bound], held)

    return on_shards(take, (specs, by_place()), specs)(held, like)


def _of(held, where, bound: int):
    """The first `bound` slots of one layer's keys or values, [C, K, P, H] or [N, K, S, H], of the lanes' places or seats `where` [A]."""
    heads = spec(cache_lib.HELD[1:], SAMPLING)
    return on_shards(lambda held, where: jax.tree.map(lambda a: a[:, :, :bound][where], held), (heads, by_place()), heads)(held, where)


def _filled(length, where, bound: int):
    """Which of the first `bound` slots of places `where` [A] hold something, given `length` [C]: bool [A, bound]."""
    return _until(on_shards(lambda length, where: length[where], (by_place(), by_place()), by_place())(length, where), bound)


def _seen(given: Given, speech: Speech):
    """Ids among the given tokens: bool [A, V], or [A, 0] where nobody asks."""
    lanes, count = given.tokens.shape
    size = speech.seen.shape[-1]
    if not size:
        return jnp.zeros((lanes, 0), bool)
    valid = jnp.arange(count) < given.count[:, None]
    return jnp.zeros((lanes, size), bool).at[jnp.arange(lanes)[:, None], given.tokens].max(valid)
