"""The vision tower: patches of images, laid out as windows, to tokens of the decoder's width.

Axes: I images, W places, T slots of a place (64), D width, N heads, H head size, M merged tokens, O decoder width.
The layout is that of `windows.py`. Window blocks attend inside the windows of [I, W, T]; full blocks over the W * T slots of an image.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx

from recoder_jax.models.qwen2_5_vl.attention import Attend, image_attention, window_attention
from recoder_jax.models.qwen2_5_vl.config import MERGE, Config, VisionConfig
from recoder_jax.models.qwen2_5_vl.layers import Mlp, norm_scale, product, rematerialized, rms_norm, rotate
from recoder_jax.models.qwen2_5_vl.windows import VisionInputs
from recoder_jax.models.weights import Scope, normal, weight, zeros
from recoder_jax.sharding import constrain


class VisionBlock(nnx.Module):
    """All blocks of the tower, stacked; inside the layer loop one of them."""

    def __init__(self, scope: Scope, config: VisionConfig):
        d, n, h = config.hidden, config.heads, config.head_dim
        out_std = d**-0.5 * (2 * config.depth) ** -0.5
        self.eps = config.eps
        self.norm1 = norm_scale(scope, 'norm1.weight', d)
        self.norm2 = norm_scale(scope, 'norm2.weight', d)
        axes = ('embed', None, 'heads', 'head')
        self.qkv = weight(scope, 'attn.qkv.weight', (d, 3, n, h), axes, normal(d**-0.5), inputs=1)
        self.qkv_bias = weight(scope, 'attn.qkv.bias', (3, n, h), axes[1:], zeros)
        self.proj = weight(scope, 'attn.proj.weight', (n, h, d), ('heads', 'head', 'embed'), normal(out_std), inputs=2)
        self.proj_bias = weight(scope, 'attn.proj.bias', (d,), (None,), zeros)
        self.mlp = Mlp(scope.child('mlp.'), d, config.intermediate, ('embed', 'mlp'), bias=True, out_std=out_std)

    def __call__(self, x: jax.Array, cos: jax.Array, sin: jax.Array, attend: Attend) -> jax.Array:
        """x [I, W, T, D]; cos, sin [I, W, T, 1, H/2]; `attend`: q, k, v [I, W, T, N, H] -> [I, W, T, N, H]."""
        qkv = product(rms_norm(x, self.norm1, self.eps), self.qkv, self.qkv_bias)  # [I, W, T, 3, N, H]
        q, k, v = (qkv[..., c, :, :] for c in range(3))
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        x = x + product(attend(q, k, v), self.proj, self.proj_bias, inputs=2)
        x = x + self.mlp(rms_norm(x, self.norm2, self.eps))
        return constrain(x, ('batch', 'residual', None, None))


class Merger(nnx.Module):
    """Four neighbouring patches to one token: norm, concatenation, two-layer GELU network."""

    def __init__(self, scope: Scope, config: VisionConfig):
        d, m, o = config.hidden, config.hidden * MERGE**2, config.output
        self.eps = config.eps
        self.norm = norm_scale(scope, 'ln_q.weight', d)
        self.into = weight(scope, 'mlp.0.weight', (m, m), ('embed', 'mlp'), normal(m**-0.5), inputs=1)
        self.into_bias = weight(scope, 'mlp.0.bias', (m,), ('mlp',), zeros)
        self.out = weight(scope, 'mlp.2.weight', (m, o), ('mlp', 'embed'), normal(m**-0.5), inputs=1)
        self.out_bias = weight(scope, 'mlp.2.bias', (o,), (None,), zeros)

    def __call__(self, x: jax.Array, order: jax.Array) -> jax.Array:
        """x [I, W, T, D], order [I, M] -> [I, M, O] in raster order."""
        x = rms_norm(x, self.norm, self.eps).reshape(x.shape[0], -1, x.shape[-1] * MERGE**2)  # [I, W * T / 4, 4 D]
        x = jnp.take_along_axis(x, order[:, :, None], axis=1)  # [I, M, 4 D]
        x = jax.nn.gelu(product(x, self.into, self.into_bias), approximate=False)
        return product(x, self.out, self.out_bias)


class VisionTower(nnx.Module):
    """Patch embedding, blocks, merger."""

    def __init__(self, scope: Scope, config: Config):
        v = config.vision
        self.config = config
        self.patch = weight(
            scope,
            'patch_embed.proj.weight',
            (v.patch_values, v.hidden),
            (None, 'embed'),
            normal(v.patch_values**-0.5),
            inputs=1,
            stored_shape=(v.hidden, v.channels, v.temporal, v.patch, v.patch),
        )
        self.blocks = VisionBlock(scope.child('blocks.{}.', layers=v.depth), v)
        self.merger = Merger(scope.child('merger.'), v)

    def __call__(self, vision: VisionInputs) -> jax.Array:
        """Features [I, M, O] of the images, in the dtype of activations; rows beyond an image's tokens are meaningless."""
        cos, sin = self._rotary(vision.rows, vision.cols)
        x = product(vision.patches.astype(self.config.dtype), self.patch)
        x = self._run_blocks(x, cos, sin, vision.window)
        return self.merger(x, vision.order)

    def _rotary(self, rows: jax.Array, cols: jax.Array) -> tuple[jax.Array, jax.Array]:
        """cos, sin [I, W, T, 1, H/2]: the first half of the angles turns with the row, the second with the column."""
        quarter = self.config.vision.head_dim // 4
        frequency = self.config.vision.rope_theta ** (-jnp.arange(quarter, dtype=jnp.float32) / quarter)
        angle = jnp.stack([rows, cols], axis=-1)[..., None] * frequency  # [I, W, T, 2, H/4]
        angle = angle.reshape(*rows.shape, 1, 2 * quarter)
        return jnp.cos(angle), jnp.sin(angle)

    def _run_blocks(self, x: jax.Array, cos: jax.Array, sin: jax.Array, window: jax.Array) -> jax.Array:
        """Runs the stacked blocks: a loop over (window blocks, one full block) where that repeats, else run by run."""
        graphdef, state = nnx.split(self.blocks)
        attends = (window_attention(window), _across_windows(window, self.config.attention, self.config.dtype))

        def step(full: bool):
            def body(x, layer):
                return nnx.merge(graphdef, layer)(x, cos, sin, attends[full]), None

            return rematerialized(body, self.config.remat)

        def run(x, layers, full):
            return jax.lax.scan(step(full), x, layers, unroll=self.config.unroll)[0]

        period = _period(self.config.vision)
        if not period:
            for start, stop, full in _runs(self.config.vision):
                x = run(x, jax.tree.map(lambda a: a[start:stop], state), full)  # noqa: B023 called at once
            return x

        def group(x, layers):
            x = run(x, jax.tree.map(lambda a: a[:-1], layers), False)
            return run(x, jax.tree.map(lambda a: a[-1:], layers), True), None

        grouped = jax.tree.map(lambda a: a.reshape(-1, period, *a.shape[1:]), state)
        return jax.lax.scan(group, x, grouped, unroll=self.config.unroll)[0]


def _across_windows(window: jax.Array, backend: str, dtype: str) -> Attend:
    """Attention to all slots of an image; the places are laid one after the other."""
    images = len(window)
    attend = image_attention(window.reshape(images, -1) > 0, backend, dtype)

    def across(q, k, v):
        return attend(*(a.reshape(images, -1, *a.shape[3:]) for a in (q, k, v))).reshape(q.shape)

    return across


def _period(config: VisionConfig) -> int:
    """p when the full blocks are exactly p - 1, 2p - 1, ... up to the last block, else 0."""
    count = len(config.full_attention)
    period = config.depth // count if count else 0
    if period < 2 or tuple(sorted(config.full_attention)) != tuple(range(period - 1, config.depth, period)):
        return 0
    return period


def _runs(config: VisionConfig) -> list[tuple[int, int, bool]]:
    """Maximal runs of blocks of one kind: (first, one past the last, full attention)."""
    kinds = [i in config.full_attention for i in range(config.depth)]
    starts = [i for i in range(config.depth) if i == 0 or kinds[i] != kinds[i - 1]]
    return [(a, b, kinds[a]) for a, b in zip(starts, [*starts[1:], config.depth], strict=True)]
