"""The three attentions of the policy. Scores and softmax are float32; weights are cast to the dtype of the values.

Axes: B rows, G branches (trajectories of a group), S tokens (queries), T tokens (keys), Q new tokens, P prefix,
K key/value heads, R query heads per key/value head, N heads, H head size, I images, W windows.

A query that sees no key (padding) gets the mean of all values: finite, and nothing reads it.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

_HIDDEN = -1e30  # score of a hidden key: finite, so that a fully hidden row has a finite softmax and gradient


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Past:
    """What the new tokens of `extend` can see: the shared prefix of a row and the suffix of each branch. P or S may be 0.

    Attributes:
      prefix_k, prefix_v: [L, B, K, P, H], once per row, not per branch.
      prefix_valid: bool [B, P].
      suffix_k, suffix_v: [L, B, G, K, S, H].
      suffix_valid: bool [B, G, S].
    """

    prefix_k: jax.Array
    prefix_v: jax.Array
    prefix_valid: jax.Array
    suffix_k: jax.Array
    suffix_v: jax.Array
    suffix_valid: jax.Array


def empty_past(layers: int, rows: int, branches: int, kv_heads: int, head_dim: int, dtype: jnp.dtype) -> Past:
    """A `Past` with P = 0 and S = 0, for prefill."""
    prefix = jnp.zeros((layers, rows, kv_heads, 0, head_dim), dtype)
    suffix = jnp.zeros((layers, rows, branches, kv_heads, 0, head_dim), dtype)
    return Past(
        prefix, prefix, jnp.zeros((rows, 0), bool), suffix, suffix, jnp.zeros((rows, branches, 0), bool)
    )  # fmt: skip


def tree_mask(segment: jax.Array, prefix: jax.Array) -> jax.Array:
    """Mask of a packed tree: bool [B, S, T], True where token s sees token t.

    s sees t iff t <= s, t is no padding, and t is of the segment of s or of the segment that s has for prefix.

    Args:
      segment: int [B, S], 0 is padding.
      prefix: int [B, S], segment that the token's segment continues, 0 for none.
    """
    size = segment.shape[1]
    causal = jnp.tril(jnp.ones((size, size), bool))
    keys = segment[:, None, :]
    related = (keys == segment[:, :, None]) | (keys == prefix[:, :, None])
    return causal & related & (keys != 0)


def packed_attention(q: jax.Array, k: jax.Array, v: jax.Array, mask: jax.Array) -> jax.Array:
    """Attention inside packed rows. q [B, S, K, R, H]; k, v [B, T, K, H]; mask bool [B, S, T] -> [B, S, K, R, H]."""
    b, s, n, r, h = q.shape
    q = q.transpose(0, 2, 3, 1, 4).reshape(b, n, r * s, h)  # the query heads of a key head stand in one matrix
    hidden = jnp.where(mask, 0.0, _HIDDEN)
    out = _attend(q, k.swapaxes(1, 2), v.swapaxes(1, 2), jnp.tile(hidden, (1, r, 1))[:, None])
    return out.reshape(b, n, r, s, h).transpose(0, 3, 1, 2, 4)


def vision_attention(q: jax.Array, k: jax.Array, v: jax.Array, valid: jax.Array) -> jax.Array:
    """Attention of all slots to the valid ones. q, k, v [I, W, T, N, H]; valid bool [I, W, T] -> [I, W, T, N, H]."""
    i, w, t, n, h = q.shape
    q, k, v = (a.reshape(i * w, t, n, h).swapaxes(1, 2) for a in (q, k, v))
    hidden = jnp.where(valid, 0.0, _HIDDEN).reshape(i * w, 1, 1, t)
    return _attend(q, k, v, hidden).swapaxes(1, 2).reshape(i, w, t, n, h)


def _attend(q: jax.Array, k: jax.Array, v: jax.Array, hidden: jax.Array) -> jax.Array:
    """Softmax attention: q [B, N, S, H]; k, v [B, N, T, H]; hidden float32, added to the scores [B, N, S, T] -> [B, N, S, H].

    Batch dimensions lead, the mask is added and the sum divides the small result: on CPUs this is faster than the same einsums
    with heads behind the sequence, a selected mask and divided weights.
    """
    scores = jnp.einsum('bnsh,bnth->bnst', q * q.shape[-1] ** -0.5, k, preferred_element_type=jnp.float32) + hidden
    weights = jnp.exp(scores - jax.lax.stop_gradient(scores.max(axis=-1, keepdims=True)))
    total = weights.sum(axis=-1, keepdims=True)
    out = jnp.einsum('bnst,bnth->bnsh', weights.astype(v.dtype), v, preferred_element_type=jnp.float32)
    return (out / total).astype(v.dtype)


def appended_attention(q: jax.Array, k: jax.Array, v: jax.Array, past: Past, valid: jax.Array) -> jax.Array:
    """New tokens see the valid prefix of their row, the valid suffix of their branch, and valid new tokens up to themselves.

    The three parts stand under one softmax: their scores share one maximum and one sum, so values and gradients are those
    of the concatenated scores, and neither the prefix is repeated over branches nor any cache copied to concatenate.

    Args:
      q: [B, G, Q, K, R, H]; k, v: [B, G, K, Q, H], the new tokens.
      past: one layer of it, that is without the leading axis L.
      valid: bool [B, G, Q].

    Returns:
      [B, G, Q, K, R, H].
    """
    q = (q * q.shape[-1] ** -0.5).transpose(0, 1, 3, 4, 2, 5)  # [B, G, K, R, Q, H]
    causal = jnp.tril(jnp.ones((q.shape[4], q.shape[4]), bool)) & valid[:, :, None, :]  # [B, G, Q, Q]
    parts = [(_scores(q, k), causal[:, :, None, None], v)]
    if past.suffix_k.shape[3]:
        parts.append((_scores(q, past.suffix_k), past.suffix_valid[:, :, None, None, None], past.suffix_v))
    if past.prefix_k.shape[2]:
        scores = jnp.einsum('bgkrqh,bkph->bkgrqp', q, past.prefix_k, preferred_element_type=jnp.float32)
        parts.append((scores.swapaxes(1, 2), past.prefix_valid[:, None, None, None, None], past.prefix_v))
    scores = [jnp.where(mask, part, _HIDDEN) for part, mask, _ in parts]  # [B, G, K, R, Q, keys]
    top = [part.max(axis=-1, keepdims=True) for part in scores]
    top = jax.lax.stop_gradient(jax.tree.reduce(jnp.maximum, top))
    weights = [jnp.exp(part - top) for part in scores]
    total = sum(part.sum(axis=-1) for part in weights)  # [B, G, K, R, Q]
    out = sum(_values(part.astype(values.dtype), values) for part, (_, _, values) in zip(weights, parts, strict=True))
    out = (out / total[..., None]).astype(v.dtype)
    return out.transpose(0, 1, 4, 2, 3, 5)


def _scores(q: jax.Array, k: jax.Array) -> jax.Array:
    """Scores of each branch with its own keys: [B, G, K, R, Q, H], [B, G, K, S, H] -> [B, G, K, R, Q, S]."""
    return jnp.einsum('bgkrqh,bgksh->bgkrqs', q, k, preferred_element_type=jnp.float32)


def _values(weights: jax.Array, values: jax.Array) -> jax.Array:
    """Sum over keys, float32 [B, G, K, R, Q, H]; `values` has a branch axis or is the shared prefix [B, K, P, H]."""
    shared = values.ndim == 4
    spec = 'bgkrqs,bksh->bgkrqh' if shared else 'bgkrqs,bgksh->bgkrqh'
    return jnp.einsum(spec, weights, values, preferred_element_type=jnp.float32)
