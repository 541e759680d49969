"""What the new tokens of `Qwen2_5_VL.extend` can see, and the forms in which keys and values are held.

Axes: L layers, B rows, C prefixes, G rows that may share one, E recent tokens, P prefix slots, S suffix slots, T tokens, K key/value heads,
H head size.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from recoder_jax.sharding import on_shards, spec

TILE = 64  # keys of a tile of `Turned`


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Int8:
    """Keys or values in a byte each: `values` int8 [..., H] times `scale` float32 [...], one of each token and head."""

    values: jax.Array
    scale: jax.Array

    @property
    def shape(self) -> tuple[int, ...]:
        return self.values.shape


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Turned:
    """Keys [..., T, H] whose tokens lie side by side, `TILE` of them at a time, or all: `tiles` [..., T / TILE, H, TILE], filled up with zeros.

    A CPU makes the scores of few queries of them as they lie; of keys whose heads lie side by side XLA packs a turned copy before every
    product (docs/rollouts.md).
    """

    tiles: jax.Array
    tokens: int = dataclasses.field(metadata={'static': True})

    @property
    def shape(self) -> tuple[int, ...]:
        *lead, _, h, _ = self.tiles.shape
        return (*lead, self.tokens, h)


Held = jax.Array | Int8 | Turned


def to_turned(k: jax.Array) -> Turned:
    """Keys [..., T, H] in tiles."""
    *lead, t, h = k.shape
    tile = min(t, TILE)
    filled = jnp.pad(k, (*[(0, 0)] * len(lead), (0, -t % tile), (0, 0)))
    return Turned(jax.lax.optimization_barrier(filled.reshape(*lead, -1, tile, h).swapaxes(-1, -2)), t)


def from_turned(k: Turned) -> jax.Array:
    """The keys [..., T, H] of tiles."""
    *lead, _, h, _ = k.tiles.shape
    return k.tiles.swapaxes(-1, -2).reshape(*lead, -1, h)[..., : k.tokens, :]


def to_int8(a: jax.Array) -> Int8:
    """Keys or values [..., H], rounded to 127 steps on either side of zero."""
    a = a.astype(jnp.float32)
    scale = jnp.maximum(jnp.abs(a).max(axis=-1), 1e-30) / 127  # of zeros too something that is no zero
    return Int8(jnp.round(a / scale[..., None]).astype(jnp.int8), scale)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Sharing:
    """Which rows share a prefix. Numbers are of a device's own rows and prefixes, which lie over the batch axes together.

    Attributes:
      home: int32 [B], c * G + g of the row that is number g of those behind prefix c.
      rows: int32 [C, G], the row that is number g behind prefix c; any row where there is none.
    """

    home: jax.Array
    rows: jax.Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Past:
    """What the new tokens of `extend` can see: the prefix of a row, its suffix, and what the row said since its suffix was last written.
    P or S may be 0, and nothing may be recent. Keys and values are arrays, or `Int8` of the same shape; the axis L may also be a tuple, whose keys
    may be `Turned`.

    Attributes:
      prefix_k, prefix_v: [L, C, K, P, H], C = B where no rows share one.
      prefix_valid: bool [C, P].
      suffix_k, suffix_v: [L, B, K, S, H].
      suffix_valid: bool [B, S].
      recent_k, recent_v: [L, B, K, E, H] or None.
      recent_valid: bool [B, E] or None.
      sharing: whose prefix is whose, or None where row b has prefix b.
    """

    prefix_k: Held
    prefix_v: Held
    prefix_valid: jax.Array
    suffix_k: Held
    suffix_v: Held
    suffix_valid: jax.Array
    recent_k: Held | None = None
    recent_v: Held | None = None
    recent_valid: jax.Array | None = None
    sharing: Sharing | None = None

    def caches(self) -> dict[str, Held]:
        """The fields that have an axis of layers."""
        names = ('prefix_k', 'prefix_v', 'suffix_k', 'suffix_v', 'recent_k', 'recent_v')
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}


def empty_past(layers: int, rows: int, kv_heads: int, head_dim: int, dtype: jnp.dtype) -> Past:
    """A `Past` with P = 0 and S = 0, for prefill."""
    nothing, none = jnp.zeros((layers, rows, kv_heads, 0, head_dim), dtype), jnp.zeros((rows, 0), bool)
    return Past(nothing, nothing, none, nothing, nothing, none)


def layers_of(past: Past, layers: int) -> list[Past]:
    """The past of each layer."""

    def layer(cache, n):
        return cache[n] if isinstance(cache, tuple) else jax.tree.map(lambda a: a[n], cache)

    return [dataclasses.replace(past, **{name: layer(cache, n) for name, cache in past.caches().items()}) for n in range(layers)]


def from_layers(layers: list[Past]) -> Past:
    """The past of all layers, the axis L a tuple."""
    return dataclasses.replace(layers[0], **{name: tuple(getattr(one, name) for one in layers) for name in layers[0].caches()})


def keys_turned(past: Past) -> Past:
    """One layer of a past with its keys turned, where they are arrays."""
    keys = {name: a for name, a in past.caches().items() if name.endswith('_k') and isinstance(a, jax.Array) and a.shape[2]}
    return dataclasses.replace(past, **{name: to_turned(a) for name, a in keys.items()})


def as_suffix(past: Past) -> Past:
    """One layer of a past with the prefix of each row in front of its suffix, where no rows share one: attention has a part less."""
    if past.sharing is None or past.sharing.rows.shape[1] > 1 or past.prefix_k.shape[2] == 0:
        return past

    def own(held, number):
        return jax.tree.map(lambda a: a.at[number].get(mode='promise_in_bounds'), held)

    heads, alone = spec(('batch', 'kv_heads')), spec(('batch',))
    run = on_shards(own, ((heads, heads, alone), alone), (heads, heads, alone))
    k, v, valid = run((past.prefix_k, past.prefix_v, past.prefix_valid), past.sharing.home)
    k, v = (jax.tree.map(lambda *pair: jnp.concatenate(pair, axis=2), *pair) for pair in ((k, past.suffix_k), (v, past.suffix_v)))
    none = jax.tree.map(lambda a: a[:, :, :0], (past.prefix_k, past.prefix_v))
    return Past(*none, past.prefix_valid[:, :0], k, v, jnp.concatenate([valid, past.suffix_valid], axis=1), past.recent_k, past.recent_v, past.recent_valid)


def with_token(recent: Held | tuple, new: Held, slot: jax.Array) -> Held | tuple:
    """Recent keys or values [L, B, K, E, H], or a tuple of layers, with those of one new token each, [L, B, K, 1, H], in a slot."""
    if isinstance(recent, tuple):
        return tuple(with_token(one, jax.tree.map(lambda a: a[n], new), slot) for n, one in enumerate(recent))
    if isinstance(recent, Turned):
        number, column = jnp.divmod(slot, recent.tiles.shape[-1])
        start = (0, 0, number, 0, column)
        return dataclasses.replace(recent, tiles=jax.lax.dynamic_update_slice(recent.tiles, new[:, :, None].swapaxes(-1, -2), start))
    axis = len(recent.shape) - 2
    return jax.tree.map(lambda held, new: jax.lax.dynamic_update_slice_in_dim(held, new, slot, axis), recent, new)


def stacked(recent: Held | tuple) -> Held:
    """Recent keys or values [L, B, K, E, H] of a tuple of layers."""
    if not isinstance(recent, tuple):
        return recent
    layers = [from_turned(one) if isinstance(one, Turned) else one for one in recent]
    return jax.tree.map(lambda *layers: jnp.stack(layers), *layers)
