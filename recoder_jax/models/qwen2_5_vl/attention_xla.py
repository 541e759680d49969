"""Attention in plain XLA: softmax over whole rows of scores. Long packed rows have tiles instead (`attention_tiles`).

Axes: B rows, N heads (or key/value heads), K key/value heads, R query heads per key/value head, S queries, T keys, H head size.
Scores and softmax are float32; weights are cast to the dtype of the values. A query that sees no key (padding) gets the mean of all
values: finite, and nothing reads it.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

HIDDEN = -1e30  # score of a hidden key: finite, so that a fully hidden row has a finite softmax and gradient
LONG = 1024  # images of more slots go block by block: their scores, all at once, would be the largest arrays of a step
BLOCK = 512  # queries of a block


def attend(q: jax.Array, k: jax.Array, v: jax.Array, hidden: jax.Array) -> jax.Array:
    """Softmax attention: q [B, N, S, H]; k, v [B, N, T, H]; hidden float32, added to the scores [B, N, S, T] -> [B, N, S, H].

    Batch dimensions lead, the mask is added and the sum divides the small result: on CPUs this is faster than the same einsums
    with heads behind the sequence, a selected mask and divided weights.
    """
    scores = jnp.einsum('bnsh,bnth->bnst', q * q.shape[-1] ** -0.5, k, preferred_element_type=jnp.float32) + hidden
    weights = jnp.exp(scores - jax.lax.stop_gradient(scores.max(axis=-1, keepdims=True)))
    total = weights.sum(axis=-1, keepdims=True)
    out = jnp.einsum('bnst,bnth->bnsh', weights.astype(v.dtype), v, preferred_element_type=jnp.float32)
    return (out / total).astype(v.dtype)


def tree_mask(segment: jax.Array, prefix: jax.Array, start: int | jax.Array = 0, count: int | None = None) -> jax.Array:
    """Mask of a packed tree: bool [B, S, T], True where token s sees token t.

    s sees t iff t <= s, t is no padding, and t is of the segment of s or of the segment that s has for prefix.

    Args:
      segment: int [B, T], 0 is padding.
      prefix: int [B, T], segment that the token's segment continues, 0 for none.
      start, count: the queries are the tokens start to start + count - 1; by default all.
    """
    count = segment.shape[1] if count is None else count
    own, before = (jax.lax.dynamic_slice_in_dim(ids, start, count, axis=1)[:, :, None] for ids in (segment, prefix))
    causal = jnp.arange(segment.shape[1]) <= start + jnp.arange(count)[:, None]
    keys = segment[:, None, :]
    return causal & ((keys == own) | (keys == before)) & (keys != 0)


def packed(q: jax.Array, k: jax.Array, v: jax.Array, segment: jax.Array, prefix: jax.Array) -> jax.Array:
    """Attention inside packed rows by `tree_mask`. q [B, K, R, S, H]; k, v [B, K, S, H]; segment, prefix [B, S] -> [B, K, R, S, H].

    The query heads of a key head stand in one matrix.
    """
    b, n, r, s, h = q.shape
    hidden = jnp.tile(jnp.where(tree_mask(segment, prefix), 0.0, HIDDEN), (1, r, 1))[:, None]
    return attend(q.reshape(b, n, r * s, h), k, v, hidden).reshape(q.shape)


def among_valid(q: jax.Array, k: jax.Array, v: jax.Array, valid: jax.Array) -> jax.Array:
    """Attention of every query to the valid keys. q, k, v [B, N, S, H]; valid bool [B, S] -> [B, N, S, H].

    Long rows go block of queries by block, and the scores of a block are made again in the backward pass.
    """
    b, n, size, h = q.shape
    hidden = jnp.where(valid, 0.0, HIDDEN)[:, None, None, :]
    if size <= LONG:
        return attend(q, k, v, hidden)
    blocks = jnp.pad(q, ((0, 0), (0, 0), (0, -size % BLOCK), (0, 0))).reshape(b, n, -1, BLOCK, h)
    one = jax.checkpoint(lambda block: attend(block, k, v, hidden), prevent_cse=False)
    out = jax.lax.map(one, jnp.moveaxis(blocks, 2, 0))  # [S / block, B, N, block, H]
    return jnp.moveaxis(out, 0, 2).reshape(b, n, -1, h)[:, :, :size]
