"""Attention in plain XLA: softmax over whole rows of scores, for all queries at once or block of queries by block.

Axes: B rows, N heads (or key/value heads), K key/value heads, R query heads per key/value head, S queries, T keys, H head size.
Scores and softmax are float32; weights are cast to the dtype of the values. A query that sees no key (padding) gets the mean of all
values: finite, and nothing reads it.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

HIDDEN = -1e30  # score of a hidden key: finite, so that a fully hidden row has a finite softmax and gradient
LONG = 1024  # longer rows go block by block: their scores, all at once, would be the largest arrays of a step
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
    """Attention inside packed rows by `tree_mask`. q [B, K, R, S, H]; k, v [B, K, S, H]; segment, prefix [B, S] -> [B, K, R, S, H]."""
    size = q.shape[3]
    block = size if size <= LONG else BLOCK
    # padded queries are of no segment and come last: they are nobody's keys
    fill = -size % block
    segment_q, prefix_q = (jnp.pad(ids, ((0, 0), (0, fill))) for ids in (segment, prefix))

    def one(q, start):
        mask = tree_mask(segment_q, prefix_q, start, block)[:, :, :size]
        return _grouped(q, k, v, mask)

    return _by_block(one, q, block, fill)


def among_valid(q: jax.Array, k: jax.Array, v: jax.Array, valid: jax.Array) -> jax.Array:
    """Attention of every query to the valid keys. q, k, v [B, N, S, H]; valid bool [B, S] -> [B, N, S, H]."""
    size = q.shape[2]
    block = size if size <= LONG else BLOCK
    hidden = jnp.where(valid, 0.0, HIDDEN)[:, None, None, :]
    return _by_block(lambda q, start: attend(q, k, v, hidden), q, block, -size % block)


def _grouped(q: jax.Array, k: jax.Array, v: jax.Array, mask: jax.Array) -> jax.Array:
    """q [B, K, R, S, H]; k, v [B, K, T, H]; mask [B, S, T] -> [B, K, R, S, H]; the query heads of a key head stand in one matrix."""
    b, n, r, s, h = q.shape
    hidden = jnp.tile(jnp.where(mask, 0.0, HIDDEN), (1, r, 1))[:, None]
    return attend(q.reshape(b, n, r * s, h), k, v, hidden).reshape(q.shape)


def _by_block(one, q: jax.Array, block: int, fill: int) -> jax.Array:
    """`one(queries, first query)` for blocks of the second to last axis of q, whose scores are made again in the backward pass."""
    size = q.shape[-2]
    if block == size:
        return one(q, 0)
    q = jnp.pad(q, ((0, 0),) * (q.ndim - 2) + ((0, fill), (0, 0)))
    blocks = jnp.moveaxis(q.reshape(*q.shape[:-2], -1, block, q.shape[-1]), -3, 0)  # [S / block, ..., block, H]
    starts = jnp.arange(len(blocks)) * block
    out = jax.lax.map(functools.partial(_unpack, jax.checkpoint(one, prevent_cse=False)), (blocks, starts))
    out = jnp.moveaxis(out, 0, -3)
    return out.reshape(*out.shape[:-3], -1, out.shape[-1])[..., :size, :]


def _unpack(function, arguments):
    return function(*arguments)
