"""DINOv2: a vision transformer whose class token describes an image.

Axes: I images, P patches of an image, D width, N heads, H head size, F hidden of the MLP. Tokens are the class token and then the
patches in raster order: T = 1 + P.

    pixels ──► patches ──► + positions, brought to the grid of the image ──► blocks ──► norm ──► tokens
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from recoder_jax.models.dinov2.config import Config
from recoder_jax.models.qwen2_5_vl.layers import product
from recoder_jax.models.weights import Scope, normal, ones, weight, zeros


class Norm(nnx.Module):
    """`scale * (x - mean) / sqrt(var + eps) + bias` over the last axis, computed in float32."""

    def __init__(self, scope: Scope, width: int, eps: float):
        self.eps = eps
        self.scale = weight(scope, 'weight', (width,), (None,), ones)
        self.bias = weight(scope, 'bias', (width,), (None,), zeros)

    def __call__(self, x: jax.Array) -> jax.Array:
        x32 = x.astype(jnp.float32)
        x32 = x32 - jnp.mean(x32, axis=-1, keepdims=True)
        x32 = x32 * jax.lax.rsqrt(jnp.mean(x32 * x32, axis=-1, keepdims=True) + self.eps)
        return (x32 * self.scale[...] + self.bias[...]).astype(x.dtype)


class Dense(nnx.Module):
    """`x kernel + bias`, contracting the last `inputs` axes of x."""

    def __init__(self, scope: Scope, shape: tuple[int, ...], axes: tuple[str | None, ...], inputs: int = 1):
        self.inputs = inputs
        self.kernel = weight(scope, 'weight', shape, axes, normal(0.02), inputs=inputs)
        self.bias = weight(scope, 'bias', shape[inputs:], axes[inputs:], zeros)

    def __call__(self, x: jax.Array) -> jax.Array:
        return product(x, self.kernel, self.bias, self.inputs)


class Block(nnx.Module):
    """All blocks, stacked; inside the layer loop one of them."""

    def __init__(self, scope: Scope, config: Config):
        d, n, h, f = config.width, config.heads, config.head_dim, config.hidden
        split, join = ('embed', 'heads', 'head'), ('heads', 'head', 'embed')
        self.norm1, self.norm2 = (Norm(scope.child(f'norm{i}.'), d, config.eps) for i in (1, 2))
        attention = scope.child('attention.attention.')
        self.query, self.key, self.value = (Dense(attention.child(f'{name}.'), (d, n, h), split) for name in ('query', 'key', 'value'))
        self.output = Dense(scope.child('attention.output.dense.'), (n, h, d), join, inputs=2)
        self.fc1 = Dense(scope.child('mlp.fc1.'), (d, f), ('embed', 'mlp'))
        self.fc2 = Dense(scope.child('mlp.fc2.'), (f, d), ('mlp', 'embed'))
        self.scale1, self.scale2 = (weight(scope, f'layer_scale{i}.lambda1', (d,), (None,), ones) for i in (1, 2))

    def __call__(self, x: jax.Array) -> jax.Array:
        """x [I, T, D] -> [I, T, D]."""
        y = self.norm1(x)
        seen = jax.nn.dot_product_attention(self.query(y), self.key(y), self.value(y))  # [I, T, N, H]
        x = x + self.scale1[...] * self.output(seen)
        return x + self.scale2[...] * self.fc2(jax.nn.gelu(self.fc1(self.norm2(x)), approximate=False))


class Dinov2(nnx.Module):
    """Images to tokens."""

    def __init__(self, scope: Scope, config: Config):
        d, values = config.width, 3 * config.patch**2
        self.config = config
        embeddings = scope.child('embeddings.')
        self.class_token = weight(embeddings, 'cls_token', (d,), (None,), normal(0.02), stored_shape=(1, 1, d))
        count = 1 + config.grid**2
        self.positions = weight(embeddings, 'position_embeddings', (count, d), (None, None), normal(0.02), stored_shape=(1, count, d))
        stored = (d, 3, config.patch, config.patch)
        projection = embeddings.child('patch_embeddings.projection.')
        self.patch = weight(projection, 'weight', (values, d), (None, 'embed'), normal(0.02), inputs=1, stored_shape=stored)
        self.patch_bias = weight(projection, 'bias', (d,), (None,), zeros)
        self.blocks = Block(scope.child('encoder.layer.{}.', layers=config.depth), config)
        self.norm = Norm(scope.child('layernorm.'), d, config.eps)

    def __call__(self, pixels: jax.Array) -> jax.Array:
        """Tokens [I, 1 + P, D] after the last norm of normalised pixels [I, height, width, 3], sides multiples of the patch."""
        images, height, width, _ = pixels.shape
        side = self.config.patch
        if height % side or width % side:
            raise ValueError(f'images are {height} x {width} pixels, patches {side} x {side}; give sides that are multiples of it')
        rows, columns = height // side, width // side
        x = pixels.astype(self.config.jax_dtype).reshape(images, rows, side, columns, side, 3)
        x = x.transpose(0, 1, 3, 5, 2, 4).reshape(images, rows * columns, -1)  # a patch: channel, row, column
        x = product(x, self.patch, self.patch_bias)
        first = jnp.broadcast_to(self.class_token[...].astype(x.dtype), (images, 1, x.shape[-1]))
        x = jnp.concatenate([first, x], axis=1) + self._positions(rows, columns).astype(x.dtype)
        graphdef, layers = nnx.split(self.blocks)
        x, _ = jax.lax.scan(lambda x, layer: (nnx.merge(graphdef, layer)(x), None), x, layers)
        return self.norm(x)

    def signature(self, pixels: jax.Array) -> jax.Array:
        """The class token [D] of one image [height, width, 3] as a unit vector in float32."""
        token = self(pixels[None])[0, 0].astype(jnp.float32)
        return token / jnp.maximum(jnp.linalg.norm(token), 1e-12)

    def _positions(self, rows: int, columns: int) -> jax.Array:
        """Position embeddings [1 + rows * columns, D] in float32, interpolated where the grid is another than the stored one."""
        stored, grid = self.positions[...].astype(jnp.float32), self.config.grid
        if (rows, columns) == (grid, grid):
            return stored
        table = stored[1:].reshape(grid, grid, -1)
        exact = jax.lax.Precision.HIGHEST
        table = jnp.einsum('ry,yxd->rxd', bicubic(grid, rows), table, precision=exact)
        table = jnp.einsum('cx,rxd->rcd', bicubic(grid, columns), table, precision=exact)
        return jnp.concatenate([stored[:1], table.reshape(rows * columns, -1)])


def bicubic(old: int, new: int) -> np.ndarray:
    """Weights float32 [new, old] that bring `old` samples to `new`: Keys' cubic convolution with a = -0.75, pixel centres at
    (i + 1/2) * old / new, samples repeated at the edge, no smoothing when shrinking. It is the interpolation the models were trained with."""
    a = -0.75
    centre = (np.arange(new) + 0.5) * old / new - 0.5
    first = np.floor(centre).astype(int)
    found = np.zeros((new, old))
    for step in range(-1, 3):
        t = np.abs(centre - (first + step))
        near = ((a + 2) * t - (a + 3)) * t * t + 1
        far = ((t - 5) * t + 8) * t * a - 4 * a
        np.add.at(found, (np.arange(new), np.clip(first + step, 0, old - 1)), np.where(t <= 1, near, far))
    return found.astype(np.float32)
