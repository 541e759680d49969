"""KV cache of a batch of groups: one prefix a chart, one suffix a row.

Axes: B charts, G rows of a chart, L layers, K key/value heads, H head dimension, P prefix slots, S suffix slots, Q new tokens, D model.

A chart's prefix is held once; its G rows hold only what differs. Opening G rows (`branch`) folds what stood in
the single row so far into the prefix, so nothing is ever prefilled twice. Stage 1 with two turns (branch turn 2):

    start        prefix  |                              suffix, G = 1 |[prompt, target image ][pad]
    branch(1)    prefix  |[prompt .... ][pad]                         |
    decode       prefix  |[prompt .... ][pad]           suffix, G = 1 |[o1 ......][end]
    append       prefix  |[prompt .... ][pad]           suffix, G = 1 |[o1 ......][end][f1, render][pad]
    branch(8)    prefix  |[prompt .... ][pad][o1 ......][end][f1, render][pad]
    decode       prefix  |   the same, read once        suffix, G = 8 |[o2 ...............][end]
                                                                      |[o2 ......][end]. . . . .
                                                                      |[o2 .........][end] . . .

Rows of a batch write in the same slot (`cursor`), so an update is one slice for the batch; `[pad]` and `.` are slots
whose `valid` bit is off, and no token ever attends to them. Position ids are kept apart from slots and have no holes.
"""

import dataclasses

import jax
import jax.numpy as jnp

from recoder_jax.models.qwen2_5_vl.attention import Past
from recoder_jax.sharding import constrain


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Cache:
    """What the rows of a batch have been given or have said.

    past: keys and values, prefix [L, B, K, P, H], suffix [L, B, G, K, S, H], and their valid bits.
    cursor: int32 [], the first suffix slot not yet written.
    position: int32 [B, G], M-RoPE position of the next token of each row.
    last: [B, G, D], final hidden state of each row's last valid token, from which the next token is drawn.
    """

    past: Past
    cursor: jax.Array
    position: jax.Array
    last: jax.Array


def empty(layers: int, charts: int, heads: int, head_dim: int, width: int, dtype) -> Cache:
    """A cache without prefix and with one row a chart that has no slots."""
    prefix = jnp.zeros((layers, charts, heads, 0, head_dim), dtype)
    suffix = jnp.zeros((layers, charts, 1, heads, 0, head_dim), dtype)
    past = Past(
        prefix_k=prefix, prefix_v=prefix, prefix_valid=jnp.zeros((charts, 0), bool),
        suffix_k=suffix, suffix_v=suffix, suffix_valid=jnp.zeros((charts, 1, 0), bool),
    )
    return Cache(past, jnp.int32(0), jnp.zeros((charts, 1), jnp.int32), jnp.zeros((charts, 1, width), dtype))


def branch(cache: Cache, group: int, slots: int) -> Cache:
    """Fold the single row into the prefix and open `group` rows of `slots` empty slots."""
    past = cache.past
    rows = past.suffix_k.shape[2]
    if rows != 1:
        raise ValueError(f"a group branches once: the cache already holds {rows} rows a chart")
    prefix_k = jnp.concatenate([past.prefix_k, past.suffix_k[:, :, 0]], axis=3)  # [L, B, K, P + S, H]
    prefix_v = jnp.concatenate([past.prefix_v, past.suffix_v[:, :, 0]], axis=3)
    prefix_valid = jnp.concatenate([past.prefix_valid, past.suffix_valid[:, 0]], axis=1)
    layers, charts, heads, _, head_dim = prefix_k.shape
    suffix = jnp.zeros((layers, charts, group, heads, slots, head_dim), prefix_k.dtype)
    # nothing that the compiler sees says where empty slots belong; without this they are whole on every device
    suffix = constrain(suffix, ("layers", "batch", None, "kv_heads", None, None))
    return Cache(
        past=Past(
            prefix_k=prefix_k, prefix_v=prefix_v, prefix_valid=prefix_valid,
            suffix_k=suffix, suffix_v=suffix, suffix_valid=jnp.zeros((charts, group, slots), bool),
        ),
        cursor=jnp.int32(0),
        position=jnp.repeat(cache.position, group, axis=1),
        last=jnp.repeat(cache.last, group, axis=1),
    )


def write(cache: Cache, k, v, valid, position, last) -> Cache:
    """Write Q tokens of every row at the cursor.

    k, v: [L, B, G, K, Q, H]. valid: bool [B, G, Q]. position, last: the rows' new values of these fields.
    """
    past, at = cache.past, cache.cursor
    return Cache(
        past=dataclasses.replace(
            past,
            suffix_k=jax.lax.dynamic_update_slice_in_dim(past.suffix_k, k.astype(past.suffix_k.dtype), at, axis=4),
            suffix_v=jax.lax.dynamic_update_slice_in_dim(past.suffix_v, v.astype(past.suffix_v.dtype), at, axis=4),
            suffix_valid=jax.lax.dynamic_update_slice_in_dim(past.suffix_valid, valid, at, axis=2),
        ),
        cursor=at + valid.shape[2],
        position=position,
        last=last,
    )
