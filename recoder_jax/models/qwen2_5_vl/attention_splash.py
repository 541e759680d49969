"""Attention on TPUs: jax's splash kernel (Pallas), which holds no scores in memory, with masks that are known only at run time.

Axes: B rows, K key/value heads, R query heads per key/value head, N heads, S tokens, H head size.

The kernel masks by two rules that a traced array can feed: segment ids of a query and a key are equal, and a function of a query's own
number and the place of the key is true. A packed tree needs three things of a query (its tree, its place, where its segment begins) and
one of the key (whether it stands in the prefix of its tree). Keys therefore stand twice, once for what they are to others and once for
their own segment, and each is hidden in one of the two places:

    segment      1 1 1 2 2 3 3 | 4 4 5 0         tree (id of queries)  1 1 1 1 1 1 1 | 4 4 4 0
    prefix       0 0 0 1 1 1 1 | 0 0 4 0         begins                0 0 0 3 3 5 5 | 7 7 9 .

    keys, first half (of prefixes)               1 1 1 . . . . | 4 4 . 0     seen by its tree from places t <= s
    keys, second half (of suffixes)              . . . 1 1 1 1 | . . 4 .     seen by its tree where begins(s) <= t <= s

Softmax runs over both halves at once, so values and gradients are those of the one masked softmax. Blocks of queries and keys that see
nothing of each other are skipped: which ones is computed from the ids once a batch (`_visible_blocks`).
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as kernel
from jax.experimental.pallas.ops.tpu.splash_attention.splash_attention_mask_info import MaskInfo

from recoder_jax.sharding import per_device

LANES = 128  # a head's size and a block's side are multiples of this
LARGEST = 1 << 16  # tokens of a row: a place and where its segment begins share one int32
SAVED = 'attention'  # checkpoint name of the output and the log of the sum, for remat policies
_NOBODY = -1  # id of a key that no query has
_PADDING = 1 << 30  # tree of padding, which sees padding: a query without any key would divide by zero


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Mask:
    """query_tree int32 [B, S]; query_place int32 [B, S], or None where all places of a tree are seen; key_tree int32 [B, T]; visible
    int32 [B, S / block, T / block]: 1 where a block of queries sees something of a block of keys."""

    query_tree: jax.Array
    query_place: jax.Array | None
    key_tree: jax.Array
    visible: jax.Array


def tree_mask(segment: jax.Array, prefix: jax.Array, devices: int = 1) -> Mask:
    """The mask of packed rows, segment and prefix int32 [B, S], that lie over `devices` of the sequence axis; S a multiple of 128 each."""
    size = segment.shape[1]
    place = jnp.broadcast_to(jnp.arange(size, dtype=jnp.int32), segment.shape)
    changes = jnp.concatenate([jnp.ones_like(segment[:, :1], bool), segment[:, 1:] != segment[:, :-1]], axis=1)
    begins = jax.lax.cummax(jnp.where(changes, place, 0), axis=1)
    tree = jnp.where(segment == 0, _PADDING, jnp.where(prefix > 0, prefix, segment))
    suffix = prefix > 0
    key_tree = jnp.concatenate([jnp.where(suffix, _NOBODY, tree), jnp.where(suffix, tree, _NOBODY)], axis=1)
    return Mask(tree, begins << 16 | place, key_tree, _visible_blocks(tree, begins, key_tree, block_of(size // devices)))


def _visible_blocks(tree: jax.Array, begins: jax.Array, key_tree: jax.Array, block: int) -> jax.Array:
    """`Mask.visible`: blocks whose ranges of trees and places meet. Ranges are wider than what they hold, so none is missed."""
    def bounds(x, held):
        x, held = (a.reshape(a.shape[0], -1, block) for a in (x, held))
        return jnp.where(held, x, _PADDING + 1).min(axis=2), jnp.where(held, x, _NOBODY).max(axis=2)

    every = jnp.ones_like(tree, bool)
    (first, last), (opens, _) = bounds(tree, every), bounds(begins, every)  # [B, S / block]
    key_first, key_last = bounds(key_tree, key_tree != _NOBODY)  # [B, 2 S / block]
    meets = (first[:, :, None] <= key_last[:, None]) & (key_first[:, None] <= last[:, :, None])
    starts = np.arange(0, tree.shape[1], block)
    past = starts[None, :] <= starts[:, None]  # keys of a block begin no later than its last query
    own = opens[:, :, None] <= starts + block - 1  # and end no earlier than the first segment of the queries begins
    return (meets & jnp.concatenate([jnp.broadcast_to(past, own.shape), past & own], axis=2)).astype(jnp.int32)


def valid_mask(valid: jax.Array) -> Mask:
    """The mask of queries that all see the valid keys, bool [B, S]; S a multiple of 128."""
    held = valid.reshape(valid.shape[0], -1, block_of(valid.shape[1])).any(axis=2)
    meets = held[:, :, None] & held[:, None]
    visible = meets.at[:, :, 0].set(True)  # every query runs one block, or it would divide by zero
    return Mask(jnp.ones(valid.shape, jnp.int32), None, valid.astype(jnp.int32), visible.astype(jnp.int32))


def packed(q: jax.Array, k: jax.Array, v: jax.Array, mask: Mask, interpret: bool = False) -> jax.Array:
    """Attention inside packed rows. q [B, K, R, S, H]; k, v [B, K, S, H]; mask of `tree_mask` -> [B, K, R, S, H]."""
    if q.shape[3] > LARGEST:
        raise ValueError(f'A row of {q.shape[3]} tokens is longer than {LARGEST}; lower batch.row_tokens.')

    def local(q, k, v, mask):
        k, v = (jnp.concatenate([a, a], axis=2) for a in (k, v))
        return _rows(q.reshape(q.shape[0], -1, *q.shape[3:]), k, v, mask, interpret).reshape(q.shape)

    queries, keys = ('batch', 'kv_heads', None, 'sequence', None), ('batch', 'kv_heads', None, None)
    with jax.named_scope('packed_trees'):
        return per_device(local, (queries, keys, keys, _axes()))(q, k, v, mask)


def among_valid(q: jax.Array, k: jax.Array, v: jax.Array, mask: Mask, interpret: bool = False) -> jax.Array:
    """Attention of every query to the valid keys. q, k, v [B, N, S, H]; mask of `valid_mask` -> [B, N, S, H]."""
    every = ('batch', 'heads', None, None)
    mask_axes = jax.tree.map(lambda a: ('batch', *[None] * (a.ndim - 1)), mask)
    with jax.named_scope('image_slots'):
        return per_device(lambda *args: _rows(*args, interpret), (every, every, every, mask_axes))(q, k, v, mask)


def block_of(size: int) -> int:
    """The side of a block: the largest of 512, 256 and 128 that divides `size`, the queries of one device."""
    return next(side for side in (512, 256, 128) if size % side == 0)


def _axes() -> Mask:
    """Logical axes of a tree's mask: queries lie over the sequence axis, keys are whole on every device."""
    return Mask(('batch', 'sequence'), ('batch', 'sequence'), ('batch', None), ('batch', 'sequence', None))


def _rows(q: jax.Array, k: jax.Array, v: jax.Array, mask: Mask, interpret: bool) -> jax.Array:
    """Row after row: q [B, N, S, H]; k, v [B, K, T, H] -> [B, N, S, H]. Heads are filled up to a multiple of 128."""
    size = q.shape[-1]
    fill = ((0, 0), (0, 0), (0, 0), (0, -size % LANES))
    q, k, v = (jnp.pad(a, fill) for a in (q * size**-0.5, k, v))
    rows = (q, k, v, mask)
    if q.shape[0] == 1:
        return _row(*jax.tree.map(lambda a: a[0], rows), interpret)[None, ..., :size]
    return jax.lax.map(lambda row: _row(*row, interpret), rows)[..., :size]


def _row(q: jax.Array, k: jax.Array, v: jax.Array, mask: Mask, interpret: bool) -> jax.Array:
    """One row: q [N, S, H], scaled; k, v [K, T, H]; the mask without its axis B -> [N, S, H]."""
    block = k.shape[1] // mask.visible.shape[1]
    # where a block is skipped the kernel fetches what the next block that runs needs
    by_key = MaskInfo(_next(mask.visible)[None], None, mask.visible[None], None, mask.query_place)
    by_query = MaskInfo(_next(mask.visible.T).T[None], None, mask.visible[None], None, mask.query_place)
    run = kernel.SplashAttentionKernel(
        by_key, by_key, by_query,
        is_mqa=False, save_residuals=False, mask_value=kernel.DEFAULT_MASK_VALUE, attn_logits_soft_cap=None,
        residual_checkpoint_name=SAVED, interpret=interpret,
        mask_function=None if mask.query_place is None else _seen_in_tree(k.shape[1] // 2),
        block_sizes=kernel.BlockSizes(
            block_q=block, block_kv=block, block_q_dkv=block, block_kv_dkv=block, block_q_dq=block, block_kv_dq=block
        ),
    )  # fmt: skip
    return run(q, k, v, kernel.SegmentIds(mask.query_tree, mask.key_tree))


def _seen_in_tree(half: int):
    """(query_place, place of the key among both halves) -> whether the second drawing of the module lets it be seen."""

    def seen(query: jax.Array, key: jax.Array) -> jax.Array:
        place, begins = query & (LARGEST - 1), jax.lax.shift_right_logical(query, 16)
        own = key - half  # negative in the first half, where it begins no segment
        return (key <= place) | ((own >= begins) & (own <= place))  # a place is less than `half`

    return seen


def _next(visible: jax.Array) -> jax.Array:
    """For each block, row by row, the column of the first visible block from it on; 0 after the last. [rows, columns] int32."""
    rows, columns = visible.shape
    end = rows * columns
    ahead = jax.lax.cummin(jnp.where(visible.reshape(-1) > 0, jnp.arange(end), end), axis=0, reverse=True)
    return jnp.where(ahead == end, 0, ahead % columns).reshape(rows, columns).astype(jnp.int32)
