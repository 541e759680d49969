"""The attentions of the policy: inside packed rows, inside images and their windows, and of new tokens to a cache.

Those inside rows and images have backends, `Config.attention`: 'xla' everywhere, 'splash' (jax's Pallas kernel) on TPUs, 'cudnn' on NVIDIA GPUs in
bfloat16, 'splash_interpret' (the TPU kernel run step by step on any machine, for tests), 'auto' for what the platform is best at.
Values and gradients are those of one softmax over what a token sees, whichever runs.

Axes: B rows, C prefixes, G rows that may share one, S tokens (queries), Q new tokens, P prefix, K key/value heads, R query heads
per key/value head, N heads, H head size, I images, W places of a whole window, T their slots.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from recoder_jax.models.qwen2_5_vl import attention_splash as splash
from recoder_jax.models.qwen2_5_vl import attention_tiles as tiles
from recoder_jax.models.qwen2_5_vl import attention_xla as xla
from recoder_jax.models.qwen2_5_vl.past import Held, Int8, Past, Sharing, Turned
from recoder_jax.sharding import on_shards, parts, spec

APPENDED = 128  # new tokens whose scores to a cache are held at once
WHOLE = 512  # packed rows of at most so many tokens go through XLA at once, longer ones tile by tile: from there on it is faster

Attend = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]


def packed_attention(segment: jax.Array, prefix: jax.Array, backend: str, dtype: str) -> Attend:
    """Attention inside packed rows, prepared once for all layers. Token s sees token t iff t <= s, t is no padding, and t is of the
    segment of s or of the segment that s has for prefix.

    Args:
      segment: int32 [B, S], 0 is padding; the tokens of a segment stand side by side.
      prefix: int32 [B, S], segment that the token's segment continues, 0 for none.
      backend: one of `config.ATTENTION`.
      dtype: of q, k and v.

    Returns:
      q [B, S, K, R, H], k and v [B, S, K, H] -> [B, S, K, R, H].
    """
    backend = chosen(backend, dtype)
    if backend == 'cudnn':
        return functools.partial(library_attention, mask=xla.tree_mask(segment, prefix)[:, None])
    size = segment.shape[1]
    whole = backend == 'xla' and size <= WHOLE
    fill = 0 if whole else _filling(size, tiles.SIDE if backend == 'xla' else splash.LANES)
    ids = [jnp.pad(ids, ((0, 0), (0, fill))) for ids in (segment, prefix)]
    if whole:
        run = functools.partial(xla.packed, segment=segment, prefix=prefix)
    elif backend == 'xla':
        run = functools.partial(tiles.packed, mask=tiles.tree_mask(*ids))
    else:
        mask = splash.tree_mask(*ids, devices=parts('sequence'))
        run = functools.partial(splash.packed, mask=mask, interpret=backend == 'splash_interpret')

    def attend(q, k, v):
        q, k, v = q.transpose(0, 2, 3, 1, 4), k.swapaxes(1, 2), v.swapaxes(1, 2)
        q, k, v = (jnp.pad(a, ((0, 0),) * (a.ndim - 2) + ((0, fill), (0, 0))) for a in (q, k, v))
        return run(q, k, v)[..., :size, :].transpose(0, 3, 1, 2, 4)

    return attend


def image_attention(valid: jax.Array, backend: str, dtype: str) -> Attend:
    """Attention of all slots of an image to its valid ones, prepared once for all blocks.

    Args:
      valid: bool [I, S].
      backend: one of `config.ATTENTION`. At most 128 slots go through XLA: their scores are small, and nothing is left to skip.
      dtype: of q, k and v.

    Returns:
      q, k, v [I, S, N, H] -> [I, S, N, H].
    """
    i, size = valid.shape
    backend = chosen(backend, dtype) if size > 128 else 'xla'
    if backend == 'cudnn':
        mask = jnp.broadcast_to(valid[:, None, None], (i, 1, size, size))
        return lambda q, k, v: library_attention(q[:, :, :, None], k, v, mask=mask).reshape(q.shape)
    fill = 0 if backend == 'xla' else _filling(size, splash.LANES)
    if backend == 'xla':
        run = functools.partial(xla.among_valid, valid=valid)
    else:
        mask = splash.valid_mask(jnp.pad(valid, ((0, 0), (0, fill))))
        run = functools.partial(splash.among_valid, mask=mask, interpret=backend == 'splash_interpret')

    def attend(q, k, v):
        q, k, v = (jnp.pad(a.swapaxes(1, 2), ((0, 0), (0, 0), (0, fill), (0, 0))) for a in (q, k, v))  # [I, N, S, H]
        return run(q, k, v)[:, :, :size].swapaxes(1, 2)

    return attend


def window_attention(window: jax.Array) -> Attend:
    """Attention of slots to those of their own window, through XLA on every platform: the scores of 64 slots are small.

    window: int32 [I, W, T], number of each slot's window, 0 where a slot is empty. Returns q, k, v [I, W, T, N, H] -> [I, W, T, N, H].
    """
    numbers = window.reshape(-1, window.shape[-1])
    seen = (numbers[:, :, None] == numbers[:, None, :]) & (numbers != 0)[:, None, :]
    hidden = jnp.where(seen, 0.0, xla.HIDDEN)[:, None]  # [I W, 1, T, T]

    def attend(q, k, v):
        out = xla.attend(*(a.reshape(-1, *a.shape[2:]).swapaxes(1, 2) for a in (q, k, v)), hidden)  # [I W, N, T, H]
        return out.swapaxes(1, 2).reshape(q.shape)

    return attend


def library_attention(
    q: jax.Array, k: jax.Array, v: jax.Array, mask: jax.Array, implementation: str = 'cudnn'
) -> jax.Array:
    """jax's own attention: q [B, S, K, R, H]; k, v [B, S, K, H]; mask bool [B, 1, S, S], True where seen -> [B, S, K, R, H]."""
    flat = q.reshape(*q.shape[:2], -1, q.shape[-1])
    return jax.nn.dot_product_attention(flat, k, v, mask=mask, implementation=implementation).reshape(q.shape)


def chosen(backend: str, dtype: str) -> str:
    """What 'auto' stands for on the devices of `jax.set_mesh`, or on jax's own where no mesh is set. cuDNN knows no float32, and no rows
    whose tokens lie on several devices."""
    if backend != 'auto':
        return backend
    mesh = jax.sharding.get_abstract_mesh()
    platform = jax.default_backend() if mesh.empty or mesh.abstract_device is None else mesh.abstract_device.platform
    on_gpu = 'cudnn' if dtype == 'bfloat16' and parts('sequence') == 1 else 'xla'
    return {'tpu': 'splash', 'gpu': on_gpu, 'cuda': on_gpu}.get(platform, 'xla')


def _filling(size: int, side: int) -> int:
    """Tokens to add to a row of `size` so that the row of every device splits into blocks of `side`."""
    return -size % (side * parts('sequence'))


def appended_attention(
    q: jax.Array, k: jax.Array, v: jax.Array, past: Past, valid: jax.Array, only: jax.Array | None = None
) -> jax.Array:
    """New tokens see the valid prefix and suffix of their row, and valid new tokens of it up to themselves.

    Values and gradients are those of one softmax over all of them, though no cache is copied to concatenate and a prefix is read once for
    all rows that share it: parts are summed with their own maximum and joined (online softmax, arXiv 1805.02867). Many new tokens (a
    prompt, feedback) go in blocks, so that the scores of one block are held at a time.

    Args:
      q: [B, Q, K, R, H]; k, v: [B, K, Q, H], the new tokens.
      past: one layer of it, that is without the leading axis L.
      valid: bool [B, Q].
      only: int32 [B], the one new token of each row that q [B, 1, K, R, H] is of; None for all.

    Returns:
      [B, Q, K, R, H].
    """
    if only is not None:
        return _appended_block(q, k, v, past, valid, only[:, None, None])
    count = q.shape[1]
    if count <= APPENDED:
        return _appended_block(q, k, v, past, valid, 0)
    q = jnp.pad(q, ((0, 0), (0, -count % APPENDED), (0, 0), (0, 0), (0, 0)))
    blocks = jnp.moveaxis(q.reshape(q.shape[0], -1, APPENDED, *q.shape[2:]), 1, 0)  # [Q / block, B, block, K, R, H]
    starts = jnp.arange(len(blocks)) * APPENDED
    out = jax.lax.map(lambda block: _appended_block(block[0], k, v, past, valid, block[1]), (blocks, starts))
    return jnp.moveaxis(out, 0, 1).reshape(q.shape)[:, :count]


def _appended_block(q: jax.Array, k: jax.Array, v: jax.Array, past: Past, valid: jax.Array, start: int | jax.Array) -> jax.Array:
    """`appended_attention` of the queries q [B, S, K, R, H], which are the new tokens start to start + S - 1; start [B, 1, 1] where rows differ."""
    q = (q * q.shape[-1] ** -0.5).transpose(0, 2, 3, 1, 4)  # [B, K, R, S, H]
    causal = (jnp.arange(k.shape[2]) <= start + jnp.arange(q.shape[3])[:, None]) & valid[:, None, :]  # [B, S, Q]
    own = [(k, v, causal[:, None, None])]
    if past.recent_k is not None:
        own.append((past.recent_k, past.recent_v, past.recent_valid[:, None, None, None]))
    if past.suffix_k.shape[2]:
        own.append((past.suffix_k, past.suffix_v, past.suffix_valid[:, None, None, None]))
    prefix = [(past.prefix_k, past.prefix_v, past.prefix_valid[:, None, None, None])] if past.prefix_k.shape[2] else []
    if past.sharing is None:
        out, _, total = _sums(q, own + prefix)
    else:
        out, total = _joined(_sums(q, own), _behind_shared(q, *prefix[0], past.sharing))
    return (out / total).astype(v.dtype).transpose(0, 3, 1, 2, 4)


def _sums(q: jax.Array, parts: list[tuple[Held, Held, jax.Array]]) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Softmax over parts, before it is divided: float32 sums of values [B, K, R, Q, H], the largest score [B, K, R, Q, 1] and the sum of weights.

    q: [B, K, R, Q, H], scaled. parts: keys and values [B, K, T, H], and bool [B, 1, 1, Q or 1, T], which are seen.
    """
    scores = [jnp.where(seen, _scores(q, keys), xla.HIDDEN) for keys, _, seen in parts]  # [B, K, R, Q, T]
    top = jax.lax.stop_gradient(jax.tree.reduce(jnp.maximum, [part.max(axis=-1, keepdims=True) for part in scores]))
    weights = [jnp.exp(part - top) for part in scores]
    total = sum(part.sum(axis=-1, keepdims=True) for part in weights)
    return sum(_values(part, values, q.dtype) for part, (_, values, _) in zip(weights, parts, strict=True)), top, total


def _behind_shared(q: jax.Array, k: Held, v: Held, seen: jax.Array, sharing: Sharing) -> tuple[jax.Array, jax.Array, jax.Array]:
    """`_sums` of the rows q [B, K, R, Q, H] over prefixes [C, K, P, H] that they share: the rows of a prefix stand as its query heads."""

    def gathered(q, k, v, seen, home, rows):
        (c, g), (_, kv, r, new, h) = rows.shape, q.shape
        by_prefix = _taken(q, rows.ravel()).reshape(c, g, *q.shape[1:]).swapaxes(1, 2).reshape(c, kv, g * r, new, h)
        sums = _sums(by_prefix, [(k, v, seen)])
        return tuple(_taken(a.reshape(c, kv, g, r, new, -1).swapaxes(1, 2).reshape(c * g, kv, r, new, -1), home) for a in sums)

    heads, alone = spec(('batch', 'kv_heads')), spec(('batch',))
    return on_shards(gathered, (heads, heads, heads, alone, alone, alone), (heads,) * 3)(q, k, v, seen, sharing.home, sharing.rows)


def _taken(a: jax.Array, numbers: jax.Array) -> jax.Array:
    """a[numbers], of numbers that are in bounds."""
    return a.at[numbers].get(mode='promise_in_bounds')


def _joined(one: tuple, other: tuple) -> tuple[jax.Array, jax.Array]:
    """Sums of values and of weights over two parts, each of which has its own largest score."""
    top = jnp.maximum(one[1], other[1])
    scales = [jnp.exp(part[1] - top) for part in (one, other)]
    return tuple(one[n] * scales[0] + other[n] * scales[1] for n in (0, 2))


def _scores(q: jax.Array, k: Held) -> jax.Array:
    """Scores of each row with its own keys: [B, K, R, Q, H], [B, K, T, H] -> [B, K, R, Q, T].

    Here and below one plain product a head, with the heads that share keys as its rows: of an einsum over all axes XLA on CPUs makes
    transposed products, which take 2.5 x as long when one token is decoded.
    """
    if isinstance(k, Int8):
        return _scores(q, k.values.astype(q.dtype)) * k.scale[:, :, None, None]
    b, kv, r, new, h = q.shape
    q = q.reshape(b, kv, r * new, h)
    if isinstance(k, Turned):
        q = jnp.broadcast_to(q[:, :, None], (b, kv, k.tiles.shape[2], *q.shape[2:]))
        scores = _product('...mh,...ht->...mt', q, k.tiles).swapaxes(2, 3).reshape(b, kv, r * new, -1)[..., : k.tokens]
    else:
        scores = _product('...mh,...th->...mt', q, k)
    return scores.reshape(b, kv, r, new, -1)


def _values(weights: jax.Array, values: Held, dtype: jnp.dtype) -> jax.Array:
    """Sum over keys, float32 [B, K, R, Q, H], of products in `dtype`; values [B, K, T, H]."""
    if isinstance(values, Int8):
        return _values(weights * values.scale[:, :, None, None], values.values.astype(dtype), dtype)
    b, kv, r, new, t = weights.shape
    return _product('...mt,...th->...mh', weights.astype(dtype).reshape(b, kv, r * new, t), values).reshape(b, kv, r, new, -1)


def _product(spec: str, a: jax.Array, b: jax.Array) -> jax.Array:
    """A product of matrices, in float32."""
    return jnp.einsum(spec, a, b, preferred_element_type=jnp.float32)
