"""Attention inside long packed rows in plain XLA: only tiles of scores in which a query sees a key are computed, one after another.

Axes: B rows, K key/value heads, R query heads per key/value head, S queries, T keys, H head size, C side of a tile.

A packed row is a tree, and most of the square of its scores is hidden: what lies ahead, and what other branches say.

                      keys
                      prefix  branch 1  branch 2
    queries  prefix     #.
             branch 1   ##       #.
             branch 2   ##                 #.

Which tiles hold something is known when the batch is, not when the step is compiled: a loop over their list runs as often as the list is
long. It carries the maximum and the sum of every query (Milakov and Gimelshein, arXiv 1805.02867), and the backward pass makes the scores
of a tile again from the log of the sum (FlashAttention, arXiv 2205.14135, algorithm 4), so that one tile of scores is held at a time. A
loop of unknown length has no derivative in reverse; `_row` brings its own.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from recoder_jax.models.qwen2_5_vl import attention_xla as xla
from recoder_jax.models.qwen2_5_vl.attention_splash import SAVED
from recoder_jax.sharding import per_device

SIDE = 128  # queries and keys of a tile


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Mask:
    """The ids that `attention_xla.tree_mask` compares, and which tiles hold something.

    Attributes:
      segment, prefix, place: int32 [B, S], of queries; a place is the number of a token in its row.
      key_segment: int32 [B, T].
      visible: bool [B, S / C, T / C], True where a query of the tile sees a key of it.
    """

    segment: jax.Array
    prefix: jax.Array
    place: jax.Array
    key_segment: jax.Array
    visible: jax.Array


def tree_mask(segment: jax.Array, prefix: jax.Array) -> Mask:
    """The mask of packed rows, segment and prefix int32 [B, S]; S a multiple of SIDE."""
    rows, size = segment.shape

    def seen(start):
        return xla.tree_mask(segment, prefix, start, SIDE).reshape(rows, SIDE, -1, SIDE).any(axis=(1, 3))

    visible = jax.lax.map(seen, jnp.arange(0, size, SIDE)).swapaxes(0, 1)
    return Mask(segment, prefix, jnp.broadcast_to(jnp.arange(size), segment.shape), segment, visible)


def packed(q: jax.Array, k: jax.Array, v: jax.Array, mask: Mask) -> jax.Array:
    """Attention inside packed rows. q [B, K, R, S, H]; k, v [B, K, S, H]; mask of `tree_mask` -> [B, K, R, S, H].

    A query that sees no key (padding) gets a finite value, and nothing reads it.
    """
    queries, keys = ('batch', 'kv_heads', None, 'sequence', None), ('batch', 'kv_heads', None, None)
    ids = ('batch', 'sequence')
    axes = (queries, keys, keys, Mask(ids, ids, ids, ('batch', None), ('batch', 'sequence', None)))
    with jax.named_scope('packed_trees'):
        return per_device(lambda *rows: jax.lax.map(lambda row: _row(*row), rows), axes)(q * q.shape[-1] ** -0.5, k, v, mask)


@jax.custom_vjp
def _row(q: jax.Array, k: jax.Array, v: jax.Array, mask: Mask) -> jax.Array:
    """One row: q [K, R, S, H], scaled; k, v [K, T, H]; the mask without its axis B -> [K, R, S, H]."""
    return _forward(q, k, v, mask)[0]


def _forward(q, k, v, mask):
    """The output, and what the backward pass needs."""

    def tile(s, t, carry):
        out, top, total = carry
        scores = _scores(q, k, mask, s, t)
        high = jnp.maximum(_cut(top, s), scores.max(axis=-1, keepdims=True))
        weights, scale = jnp.exp(scores - high), jnp.exp(_cut(top, s) - high)
        here = jnp.einsum('krst,kth->krsh', weights.astype(v.dtype), _cut(v, t), preferred_element_type=jnp.float32)
        sums = _cut(total, s) * scale + weights.sum(axis=-1, keepdims=True)
        return _put(out, _cut(out, s) * scale + here, s), _put(top, high, s), _put(total, sums, s)

    zero = jnp.zeros((*q.shape[:-1], 1), jnp.float32)
    out, top, total = _each_tile(tile, mask.visible, (jnp.zeros(q.shape, jnp.float32), zero + xla.HIDDEN, zero))
    total = jnp.where(total == 0, 1.0, total)  # queries of a tile that sees nothing
    out = checkpoint_name((out / total).astype(v.dtype), SAVED)
    return out, (q, k, v, mask, out, checkpoint_name(top + jnp.log(total), SAVED))


def _backward(residuals, cotangent):
    q, k, v, mask, out, log_total = residuals
    own = (cotangent.astype(jnp.float32) * out).sum(axis=-1, keepdims=True)  # what each query's weights give in common

    def tile(s, t, carry):
        dq, dk, dv = carry
        q_s, k_t, d_out = _cut(q, s), _cut(k, t), _cut(cotangent, s)
        weights = jnp.exp(_scores(q, k, mask, s, t) - _cut(log_total, s))
        d_weights = jnp.einsum('krsh,kth->krst', d_out, _cut(v, t), preferred_element_type=jnp.float32)
        d_scores = (weights * (d_weights - _cut(own, s))).astype(q.dtype)
        dq = _put(dq, _cut(dq, s) + jnp.einsum('krst,kth->krsh', d_scores, k_t, preferred_element_type=jnp.float32), s)
        dk = _put(dk, _cut(dk, t) + jnp.einsum('krst,krsh->kth', d_scores, q_s, preferred_element_type=jnp.float32), t)
        d_values = jnp.einsum('krst,krsh->kth', weights.astype(v.dtype), d_out, preferred_element_type=jnp.float32)
        return dq, dk, _put(dv, _cut(dv, t) + d_values, t)

    zeros = tuple(jnp.zeros(a.shape, jnp.float32) for a in (q, k, v))
    gradients = _each_tile(tile, mask.visible, zeros)
    return *(gradient.astype(a.dtype) for gradient, a in zip(gradients, (q, k, v), strict=True)), None


_row.defvjp(_forward, _backward)


def _each_tile(body, visible: jax.Array, carry):
    """`body(tile of queries, tile of keys, carry)` for every visible tile, bool [S / C, T / C], those of a query one behind the other."""
    places = jnp.nonzero(visible.reshape(-1), size=visible.size, fill_value=0)[0]
    columns = visible.shape[1]
    return jax.lax.fori_loop(0, visible.sum(), lambda i, carry: body(places[i] // columns, places[i] % columns, carry), carry)


def _scores(q: jax.Array, k: jax.Array, mask: Mask, s: jax.Array, t: jax.Array) -> jax.Array:
    """Scores of a tile, float32 [K, R, C, C]; those of hidden keys are HIDDEN."""
    scores = jnp.einsum('krsh,kth->krst', _cut(q, s), _cut(k, t), preferred_element_type=jnp.float32)
    own, before, place = (_cut(ids, s, axis=0)[:, None] for ids in (mask.segment, mask.prefix, mask.place))
    keys = _cut(mask.key_segment, t, axis=0)
    seen = (t * SIDE + jnp.arange(SIDE) <= place) & ((keys == own) | (keys == before)) & (keys != 0)
    return scores + jnp.where(seen, 0.0, xla.HIDDEN)


def _cut(a: jax.Array, tile: jax.Array, axis: int = -2) -> jax.Array:
    return jax.lax.dynamic_slice_in_dim(a, tile * SIDE, SIDE, axis)


def _put(a: jax.Array, part: jax.Array, tile: jax.Array) -> jax.Array:
    return jax.lax.dynamic_update_slice_in_dim(a, part, tile * SIDE, -2)
