"""ResNet-18 (arXiv 1512.03385) as torchvision stores it, for images that are compared stage by stage.

Axes: I images, Y rows, X columns, C channels. Batch norms use their stored statistics. The classifier is not read.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
from flax import nnx

from recoder_jax.models.weights import Scope, normal, ones, weight, zeros

EPS = 1e-5  # of the batch norms


@dataclasses.dataclass(frozen=True)
class Config:
    """channels: of each stage, every one of two blocks, halving rows and columns but for the first. dtype: of weights and activations."""

    channels: tuple[int, ...] = (64, 128, 256, 512)
    dtype: str = 'float32'

    @property
    def jax_dtype(self) -> jnp.dtype:
        return jnp.dtype(self.dtype)


class Conv(nnx.Module):
    """A convolution without bias and the batch norm behind it."""

    def __init__(self, scope: Scope, names: tuple[str, str], channels: tuple[int, int], size: int, stride: int = 1):
        into, out = channels
        self.shape, self.stride = (into, size, size, out), stride
        values = into * size * size
        self.kernel = weight(scope, f'{names[0]}.weight', (values, out), (None, None), normal((2 / values) ** 0.5), inputs=1,
                             stored_shape=(out, into, size, size))
        norm = scope.child(f'{names[1]}.')
        self.scale, self.variance = (weight(norm, name, (out,), (None,), ones) for name in ('weight', 'running_var'))
        self.bias, self.mean = (weight(norm, name, (out,), (None,), zeros) for name in ('bias', 'running_mean'))

    def __call__(self, x: jax.Array) -> jax.Array:
        """[I, Y, X, C] -> [I, Y / stride, X / stride, C']."""
        kernel, side = self.kernel[...].reshape(self.shape).astype(x.dtype), self.shape[1] // 2
        x = jax.lax.conv_general_dilated(x, kernel, (self.stride,) * 2, [(side, side)] * 2, dimension_numbers=('NHWC', 'IHWO', 'NHWC'))
        factor = self.scale[...].astype(jnp.float32) * jax.lax.rsqrt(self.variance[...].astype(jnp.float32) + EPS)
        return ((x.astype(jnp.float32) - self.mean[...]) * factor + self.bias[...]).astype(x.dtype)


class Block(nnx.Module):
    """Two convolutions and the way around them."""

    def __init__(self, scope: Scope, channels: tuple[int, int], stride: int):
        self.conv1 = Conv(scope, ('conv1', 'bn1'), channels, 3, stride)
        self.conv2 = Conv(scope, ('conv2', 'bn2'), (channels[1], channels[1]), 3)
        self.around = Conv(scope, ('downsample.0', 'downsample.1'), channels, 1, stride) if stride > 1 else None

    def __call__(self, x: jax.Array) -> jax.Array:
        y = self.conv2(jax.nn.relu(self.conv1(x)))
        return jax.nn.relu(y + (x if self.around is None else self.around(x)))


class ResNet(nnx.Module):
    """Images to the features of every stage."""

    def __init__(self, scope: Scope, config: Config):
        widths = (config.channels[0], *config.channels)
        self.config = config
        self.stem = Conv(scope, ('conv1', 'bn1'), (3, widths[0]), 7, stride=2)
        self.stages = nnx.List([
            nnx.List([Block(scope.child(f'layer{stage}.0.'), (into, out), 1 if stage == 1 else 2), Block(scope.child(f'layer{stage}.1.'), (out, out), 1)])
            for stage, (into, out) in enumerate(zip(widths, widths[1:]), 1)
        ])

    def __call__(self, pixels: jax.Array) -> list[jax.Array]:
        """Features [I, Y, X, C] behind each stage of normalised pixels [I, height, width, 3]."""
        x = jax.nn.relu(self.stem(pixels.astype(self.config.jax_dtype)))
        x = jax.lax.reduce_window(x, jnp.array(-jnp.inf, x.dtype), jax.lax.max, (1, 3, 3, 1), (1, 2, 2, 1), [(0, 0), (1, 1), (1, 1), (0, 0)])
        found = []
        for stage in self.stages:
            for block in stage:
                x = block(x)
            found.append(x)
        return found

    def signature(self, pixels: jax.Array) -> jax.Array:
        """float32 [sum of Y X C over the stages] of one image, so scaled that the product of two is the mean of the stages' cosines."""
        stages = [x.astype(jnp.float32).ravel() for x in self(pixels[None])]
        units = [x / jnp.maximum(jnp.linalg.norm(x), 1e-12) for x in stages]
        return jnp.concatenate(units) / len(units) ** 0.5
