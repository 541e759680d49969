"""The decoder: M-RoPE, grouped-query attention, SwiGLU; blocks stacked and run in one loop.

Axes: B rows, S tokens, Q new tokens, L layers, D width, K key/value heads, R query heads per key/value head,
H head size, V vocabulary, P prefix.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from recoder_jax.models.qwen2_5_vl.attention import Attend, appended_attention, packed_attention
from recoder_jax.models.qwen2_5_vl.config import Config, TextConfig
from recoder_jax.models.qwen2_5_vl.layers import Mlp, norm_scale, product, rematerialized, rms_norm, rotate, turned_product
from recoder_jax.models.qwen2_5_vl.past import Past, as_suffix, from_layers, keys_turned, layers_of
from recoder_jax.models.weights import Scope, is_variable, layer_row, normal, turned, weight, zeros
from recoder_jax.sharding import constrain, parts


class TextBlock(nnx.Module):
    """All blocks of the decoder, stacked; inside the layer loop one of them."""

    def __init__(self, scope: Scope, config: TextConfig):
        d, k, r, h = config.hidden, config.kv_heads, config.queries_per_kv, config.head_dim
        std, out_std = d**-0.5, d**-0.5 * (2 * config.layers) ** -0.5
        query, key = ('embed', 'kv_heads', 'queries_per_kv', 'head'), ('embed', 'kv_heads', 'head')
        attn = scope.child('self_attn.')
        self.eps = config.eps
        self.norm1 = norm_scale(scope, 'input_layernorm.weight', d)
        self.norm2 = norm_scale(scope, 'post_attention_layernorm.weight', d)
        self.q = weight(attn, 'q_proj.weight', (d, k, r, h), query, normal(std), inputs=1)
        self.k = weight(attn, 'k_proj.weight', (d, k, h), key, normal(std), inputs=1)
        self.v = weight(attn, 'v_proj.weight', (d, k, h), key, normal(std), inputs=1)
        self.q_bias = weight(attn, 'q_proj.bias', (k, r, h), query[1:], zeros)
        self.k_bias = weight(attn, 'k_proj.bias', (k, h), key[1:], zeros)
        self.v_bias = weight(attn, 'v_proj.bias', (k, h), key[1:], zeros)
        self.o = weight(attn, 'o_proj.weight', (k, r, h, d), (*query[1:], 'embed'), normal(out_std), inputs=3)
        self.mlp = Mlp(scope.child('mlp.'), d, config.intermediate, ('embed', 'mlp'), bias=False, out_std=out_std)

    def hidden(self, x: jax.Array, cos: jax.Array, sin: jax.Array, attend: Attend) -> jax.Array:
        """Packed rows: x [B, S, D]; cos, sin [B, S, H/2]; `attend` of `packed_attention` -> [B, S, D]."""
        normed = rms_norm(x, self.norm1, self.eps)
        q, (k, v) = self._queries(normed, cos, sin), self._keys_and_values(normed, cos, sin)
        x = x + self._out(attend(q, k, v))
        x = x + self.mlp(rms_norm(x, self.norm2, self.eps))
        return constrain(x, ('batch', 'residual', None))

    def extend(
        self, x: jax.Array, cos: jax.Array, sin: jax.Array, past: Past, valid: jax.Array, only: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """New tokens: x [..., Q, D] with one or two axes for B, one layer of the past, valid [B, Q] -> x and the new k, v [B, K, Q, H].

        only: int32 [B], of x [B, Q, D] the one new token of each row that is taken through the block: -> x [B, 1, D].
        """
        normed = rms_norm(x, self.norm1, self.eps)
        k, v = self._keys_and_values(normed, cos, sin)
        k, v = (a.reshape(*valid.shape, *a.shape[x.ndim - 1 :]).swapaxes(1, 2) for a in (k, v))  # [B, K, Q, H]
        if only is not None:
            x, normed, cos, sin = (jnp.take_along_axis(a, only[:, None, None], axis=1) for a in (x, normed, cos, sin))
        q = self._queries(normed, cos, sin)
        q = q.reshape(len(valid), -1, *q.shape[x.ndim - 1 :])
        out = appended_attention(q, k, v, past, valid, only)
        x = x + self._out(out.reshape(*x.shape[:-1], *out.shape[2:]))
        x = x + self.mlp(rms_norm(x, self.norm2, self.eps))
        return constrain(x, ('batch', *[None] * (x.ndim - 1))), k, v

    def _queries(self, normed: jax.Array, cos: jax.Array, sin: jax.Array) -> jax.Array:
        """[..., D] -> [..., K, R, H], rotated."""
        return rotate(product(normed, self.q, self.q_bias), cos[..., None, None, :], sin[..., None, None, :])

    def _keys_and_values(self, normed: jax.Array, cos: jax.Array, sin: jax.Array) -> tuple[jax.Array, jax.Array]:
        """[..., D] -> [..., K, H] twice, the keys rotated."""
        k, v = product(normed, self.k, self.k_bias), product(normed, self.v, self.v_bias)
        return rotate(k, cos[..., None, :], sin[..., None, :]), v

    def _out(self, x: jax.Array) -> jax.Array:
        return product(x, self.o, inputs=3)


class Decoder(nnx.Module):
    """Embedding, blocks, final norm, head."""

    def __init__(self, scope: Scope, config: Config):
        t = config.text
        self.config = config
        table = (t.vocab, t.hidden)
        # A tied table is also the head: logits of unit variance need rows of norm one.
        embed_std = t.hidden**-0.5 if t.tied else 0.02
        self.embedding = weight(
            scope, 'model.embed_tokens.weight', table, ('vocab', 'embed'), normal(embed_std), stored_shape=table
        )
        self.blocks = TextBlock(scope.child('model.layers.{}.', layers=t.layers), t)
        self.norm = norm_scale(scope, 'model.norm.weight', t.hidden)
        head = (scope, 'lm_head.weight', table[::-1], ('embed', 'vocab'), normal(t.hidden**-0.5), 1)
        self.head = None if t.tied else weight(*head)

    def embed(self, tokens: jax.Array, features: jax.Array, image_slot: jax.Array) -> jax.Array:
        """Token embeddings, image tokens replaced by features. See `Qwen2_5_VL.embed`."""
        table = constrain(self.embedding[...].astype(self.config.dtype), ('vocab', None))
        x = table[tokens]
        image = features.astype(x.dtype)[jnp.maximum(image_slot, 0)]
        x = jnp.where((image_slot >= 0)[..., None], image, x)
        return constrain(x, ('batch', *[None] * (x.ndim - 1)))

    def hidden(self, x: jax.Array, positions: jax.Array, segment: jax.Array, prefix: jax.Array) -> jax.Array:
        """See `Qwen2_5_VL.hidden`."""
        cos, sin = self._rotary(positions)
        attend = packed_attention(segment, prefix, self.config.attention, self.config.dtype)
        graphdef, state = nnx.split(self.blocks)

        def body(x, layer):
            return nnx.merge(graphdef, layer).hidden(x, cos, sin, attend), None

        x, _ = jax.lax.scan(rematerialized(body, self.config.remat), x, state, unroll=self.config.unroll)
        return rms_norm(x, self.norm, self.config.text.eps)

    def extend(
        self, x: jax.Array, positions: jax.Array, past: Past, valid: jax.Array, view: Callable[[Past], Past] = lambda past: past,
        only: jax.Array | None = None,
    ) -> tuple[jax.Array, jax.Array, jax.Array]:  # fmt: skip
        """See `Qwen2_5_VL.extend`. The past is read, layer by layer, and never written here."""
        shape, together = x.shape, 1 if self._apart else _rows_together(*valid.shape, self.config.text.intermediate)
        if together > 1:
            x, positions = (a.reshape(*lead, -1, together, *a.shape[len(lead) + 1 :]) for a, lead in ((x, ()), (positions, (3,))))
        cos, sin = self._rotary(positions)

        def through(block, x, layer, only=None):
            x, k, v = block.extend(x, cos, sin, view(layer), valid, only)
            return x, (k, v)

        if self._apart:
            x, k, v = _one_by_one(through, self.blocks, x, layers_of(past, len(self.blocks)), only)
        else:
            graphdef, state = nnx.split(self.blocks)

            def body(x, layer):
                return through(nnx.merge(graphdef, layer[0]), x, dataclasses.replace(past, **layer[1]))

            x, (k, v) = jax.lax.scan(body, x, (state, past.caches()), unroll=self.config.unroll)
            x = x.reshape(shape)
            x = x if only is None else jnp.take_along_axis(x, only[:, None, None], axis=1)
        return rms_norm(x, self.norm, self.config.text.eps), k, v

    def take_apart(self) -> None:
        """Holds each block in arrays of its own, its matrices and the head turned, for `extend` and `logits` alone."""
        graphdef, state = nnx.split(self.blocks)

        def block(n):
            def own(leaf):
                return turned(leaf.copy(leaf.get_value()[n], row=layer_row(leaf.get_metadata()['row'], n)))

            return nnx.merge(graphdef, jax.tree.map(own, state, is_leaf=is_variable))

        self.blocks = nnx.List([block(n) for n in range(self.config.text.layers)])
        self.head = None if self.head is None else turned(self.head)

    @property
    def _apart(self) -> bool:
        return isinstance(self.blocks, nnx.List)

    def by_layer(self, past: Past, view: Callable[[Past], Past]) -> tuple[Past, Callable[[Past], Past]]:
        """A past and a view for many calls of `extend` that see the same through them. Where blocks are held apart, so is what they see of
        each layer, copied once and not at every call; elsewhere both as they are."""
        if not self._apart:
            return past, view
        seen = [keys_turned(as_suffix(view(layer))) for layer in layers_of(past, len(self.blocks))]
        return from_layers(seen), lambda past: past

    def logits(self, x: jax.Array) -> jax.Array:
        """x [..., D] -> float32 [..., V]."""
        tied = self.head is None
        w = (self.embedding if tied else self.head)[...].astype(x.dtype)
        if self._apart:
            return turned_product(x.reshape(-1, x.shape[-1]), w, dtype=jnp.float32).reshape(*x.shape[:-1], -1)
        spec = '...d,vd->...v' if tied else '...d,dv->...v'
        return jnp.einsum(spec, x, w, preferred_element_type=jnp.float32)

    def _rotary(self, positions: jax.Array) -> tuple[jax.Array, jax.Array]:
        """positions [3, ...] -> cos, sin [..., H/2]: the frequencies are dealt to time, row and column by section."""
        t = self.config.text
        half = t.head_dim // 2
        frequency = t.rope_theta ** (-jnp.arange(half, dtype=jnp.float32) / half)
        owner = np.repeat(np.arange(3), t.mrope_section)
        angle = jnp.moveaxis(jnp.asarray(positions)[owner], 0, -1) * frequency  # [..., H/2]
        if not self._apart:
            return jnp.cos(angle), jnp.sin(angle)
        # Out of a loop, with which nothing is fused: of a plain expression every block computes them anew, and for each head.
        cos, sin = jax.lax.map(lambda n: jnp.where(n == 0, jnp.cos(angle), jnp.sin(angle)), jnp.arange(2))
        return cos, sin


def _rows_together(rows: int, new: int, intermediate: int) -> int:
    """How many of `rows` rows, which have `new` tokens each, stand on a second axis of the activations: up to 8 where each has one token and
    the part of the MLP that a device has is no multiple of 128.

    Of rows on a single axis XLA for TPUs makes products that want such a matrix in another layout than it lies in, and copies those of all
    layers at every call. Where matrices are multiples, a single axis takes less time (docs/rollouts.md).
    """
    devices = parts('batch')
    if new > 1 or rows % devices or intermediate // parts('mlp') % 128 == 0:
        return 1
    return math.gcd(8, rows // devices)


def _one_by_one(
    through: Callable, blocks: nnx.List, x: jax.Array, layers: Sequence[Past], only: jax.Array | None
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """What the layer loop of `Decoder.extend` computes, of blocks taken apart. Behind the last block nothing sees the tokens that are not
    asked for, so it computes their keys and values alone."""
    said = []
    for n, (block, layer) in enumerate(zip(blocks, layers, strict=True)):
        x, new = through(block, x, layer, only if n + 1 == len(blocks) else None)
        said.append(new)
    k, v = (jnp.stack(one) for one in zip(*said, strict=True))
    return x, k, v
