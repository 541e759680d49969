"""Appending given tokens and decoding new ones, on the device.

Axes: B charts, G rows of a chart, Q given tokens, N new tokens, I images, M merged tokens of an image, D model, V vocabulary.
"""

import dataclasses

import jax
import jax.numpy as jnp

from recoder_jax.models.qwen2_5_vl.windows import VisionInputs
from recoder_jax.sampling import cache as cache_lib
from recoder_jax.sampling.cache import Cache


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Given:
    """Tokens to append to every row: a prompt, or the feedback after a turn.

    tokens: int32 [B, G, Q]. positions: int32 [3, B, G, Q]. valid: bool [B, G, Q]; each row's valid tokens come first.
    image_slot: int32 [B, G, Q], row of the flattened image features [I * M] that stands at this token, -1 for text.
    next_position: int32 [B, G], position after the last valid token. vision: the images of all rows, each once.
    """

    tokens: jax.Array
    positions: jax.Array
    valid: jax.Array
    image_slot: jax.Array
    next_position: jax.Array
    vision: VisionInputs


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Sampled:
    """tokens: int32 [B, G, N], zero from `length` on. logprobs: float32 [B, G, N], of the sampled tokens under the
    full distribution at temperature 1. length: int32 [B, G], sampled tokens, the end token included. ended: bool [B, G],
    false where the row was cut at N tokens."""

    tokens: jax.Array
    logprobs: jax.Array
    length: jax.Array
    ended: jax.Array


def prefill(model, given: Given) -> Cache:
    """A cache that holds the given prompts, one row a chart, and no room behind them."""
    text, charts = model.config.text, given.tokens.shape[0]
    nothing = cache_lib.empty(text.layers, charts, text.kv_heads, text.head_dim, text.hidden, jnp.dtype(model.config.dtype))
    k, v, position, last = read(model, nothing, given)
    past = dataclasses.replace(nothing.past, suffix_k=k, suffix_v=v, suffix_valid=given.valid)
    return Cache(past, jnp.int32(given.tokens.shape[2]), position, last)


def append(model, cache: Cache, given: Given) -> Cache:
    """Run given tokens through the model and write their keys and values behind what each row holds."""
    k, v, position, last = read(model, cache, given)
    return cache_lib.write(cache, k, v, given.valid, position, last)


def read(model, cache: Cache, given: Given):
    """Given tokens behind a cache: their keys and values [L, B, G, K, Q, H], and each row's new position and last state."""
    charts, rows, count = given.tokens.shape
    features = model.encode_images(given.vision)  # [I, M, D]
    flat = (charts * rows, count)
    x = model.embed(given.tokens.reshape(flat), features.reshape(-1, features.shape[-1]), given.image_slot.reshape(flat))
    x = x.reshape(charts, rows, count, -1)
    x, k, v = model.extend(x, given.positions, cache.past, given.valid)
    end = jnp.maximum(given.valid.sum(-1, dtype=jnp.int32) - 1, 0)  # [B, G]
    last = jnp.take_along_axis(x, end[..., None, None], axis=2)[:, :, 0]  # [B, G, D]
    silent = ~given.valid.any(-1)
    last = jnp.where(silent[..., None], cache.last, last)
    return k, v, jnp.where(silent, cache.position, given.next_position), last


def decode(model, cache: Cache, keys, forbidden, end_id: int, steps: int, temperature) -> tuple[Cache, Sampled]:
    """Draw up to `steps` tokens for every row in one loop on the device, ending when the last row has ended.

    keys: one PRNG key a row [B, G]; token n is drawn with fold_in(key, n), so what a row says does not depend on
    the rows beside it. forbidden: bool [V], ids that are never drawn. temperature: float [], 0 takes the likeliest token.
    """
    charts, rows = cache.position.shape
    nothing = Sampled(
        tokens=jnp.zeros((charts, rows, steps), jnp.int32),
        logprobs=jnp.zeros((charts, rows, steps), jnp.float32),
        length=jnp.zeros((charts, rows), jnp.int32),
        ended=jnp.zeros((charts, rows), bool),
    )

    def unfinished(carry):
        n, _, sampled = carry
        return (n < steps) & ~sampled.ended.all()

    def one_token(carry):
        n, cache, sampled = carry
        token, logprob = draw(model.logits(cache.last), keys, n, forbidden, temperature)  # [B, G]
        active = ~sampled.ended
        token = jnp.where(active, token, 0)
        sampled = Sampled(
            tokens=jax.lax.dynamic_update_slice_in_dim(sampled.tokens, token[..., None], n, axis=2),
            logprobs=jax.lax.dynamic_update_slice_in_dim(sampled.logprobs, jnp.where(active, logprob, 0.0)[..., None], n, axis=2),
            length=sampled.length + active,
            ended=sampled.ended | (token == end_id) & active,
        )
        no_image = jnp.zeros((1, cache.last.shape[-1]), cache.last.dtype)
        x = model.embed(token, no_image, jnp.full_like(token, -1))
        positions = jnp.broadcast_to(cache.position[None, :, :, None], (3, charts, rows, 1))
        x, k, v = model.extend(x[:, :, None], positions, cache.past, active[..., None])
        last = jnp.where(active[..., None], x[:, :, 0], cache.last)
        cache = cache_lib.write(cache, k, v, active[..., None], cache.position + active, last)
        return n + 1, cache, sampled

    _, cache, sampled = jax.lax.while_loop(unfinished, one_token, (jnp.int32(0), cache, nothing))
    return cache, sampled


def draw(logits, keys, n, forbidden, temperature):
    """Sample by the Gumbel-max rule. logits: float32 [B, G, V]; returns int32 [B, G] and log probabilities [B, G]."""
    allowed = jnp.where(forbidden, -jnp.inf, logits)
    fold = jax.vmap(jax.vmap(lambda key: jax.random.gumbel(jax.random.fold_in(key, n), logits.shape[-1:])))
    noise = jax.lax.cond(temperature > 0, lambda: fold(keys), lambda: jnp.zeros_like(logits))
    scale = jnp.where(temperature > 0, temperature, 1.0)
    token = jnp.argmax(allowed / scale + noise, axis=-1).astype(jnp.int32)
    chosen = jnp.take_along_axis(logits, token[..., None], axis=-1)[..., 0]
    return token, chosen - jax.nn.logsumexp(logits, axis=-1)
