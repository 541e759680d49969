"""Parts that the vision tower and the decoder share.

Axes: D width, F hidden of the MLP, H head size; leading axes are free.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx

from recoder_jax.models.qwen2_5_vl.attention_splash import SAVED
from recoder_jax.models.weights import Scope, is_turned, normal, ones, weight, zeros

FEW = 32  # rows up to which a turned kernel is the left factor (docs/rollouts.md)


def product(x: jax.Array, w: nnx.Param, bias: nnx.Param | None = None, inputs: int = 1) -> jax.Array:
    """The last `inputs` dimensions of x contracted with the first of w, and a bias, in the dtype of x: [..., *in], [*in, *out], [*out] -> [..., *out].

    A turned w (`weights.turned`) is [*out, *in]. A bias is added to the rounded product: added to float32 sums, it would make the cotangents
    of all products float32. The leading dimensions are one while multiplying: with several, XLA on CPUs runs the products of the backward
    pass 3 x slower.
    """
    lead, kernel = x.shape[: x.ndim - inputs], w[...].astype(x.dtype)
    rows = x.reshape(-1, *x.shape[x.ndim - inputs :])
    if is_turned(w):
        out = turned_product(rows, kernel, inputs)
    else:
        contracted = tuple(range(1, inputs + 1)), tuple(range(inputs))
        out = jax.lax.dot_general(rows, kernel, (contracted, ((), ())))
    if bias is not None:
        out = out + bias[...].astype(x.dtype)
    return out.reshape(*lead, *out.shape[1:])


def turned_product(x: jax.Array, kernel: jax.Array, inputs: int = 1, dtype: jnp.dtype | None = None) -> jax.Array:
    """`product` of a kernel whose outputs come first, in the dtype of x or another: [N, *in], [*out, *in] -> [N, *out].

    A CPU reads the kernel once where it is the left factor of few rows; as the right one XLA packs it anew before every product, and
    without the barriers it makes it the right one again.
    """
    x, matrix = x.reshape(len(x), -1), kernel.reshape(-1, math.prod(kernel.shape[kernel.ndim - inputs :]))
    if len(x) > FEW:
        out = jnp.matmul(x, matrix.T, preferred_element_type=dtype)
    else:
        out = jax.lax.optimization_barrier(jnp.matmul(matrix, jax.lax.optimization_barrier(x.T), preferred_element_type=dtype)).T
    return out.reshape(len(x), *kernel.shape[: kernel.ndim - inputs])


def rms_norm(x: jax.Array, scale: nnx.Param, eps: float) -> jax.Array:
    """`scale * x / sqrt(mean(x^2) + eps)` over the last axis; the quotient is computed in float32."""
    x32 = x.astype(jnp.float32)
    x32 = x32 * jax.lax.rsqrt(jnp.mean(x32 * x32, axis=-1, keepdims=True) + eps)
    return scale[...].astype(x.dtype) * x32.astype(x.dtype)


def rotate(x: jax.Array, cos: jax.Array, sin: jax.Array) -> jax.Array:
    """Rotary embedding in float32: turns the pair (x_i, x_{i + H/2}) by angle i. x [..., H]; cos, sin [..., H/2]."""
    first, second = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    return jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1).astype(x.dtype)


def rematerialized(body: Callable, policy: str) -> Callable:
    """The body of a layer loop with what its backward pass keeps decided by `policy`: 'none' keeps all it needs, 'blocks' the input of
    each block, 'attention' also the output of attention, so that only the cheaper rest is computed twice."""
    if policy == 'none':
        return body
    saved = jax.checkpoint_policies.save_only_these_names(*([SAVED] if policy == 'attention' else []))
    return jax.checkpoint(body, prevent_cse=False, policy=saved)


class Mlp(nnx.Module):
    """SwiGLU: `(silu(x gate) * (x up)) down`, with biases in the vision tower."""

    def __init__(self, scope: Scope, width: int, hidden: int, axes: tuple[str, str], bias: bool, out_std: float):
        into, out = (width, hidden), (hidden, width)
        std = width**-0.5
        self.gate = weight(scope, 'gate_proj.weight', into, axes, normal(std), inputs=1)
        self.up = weight(scope, 'up_proj.weight', into, axes, normal(std), inputs=1)
        self.down = weight(scope, 'down_proj.weight', out, axes[::-1], normal(out_std), inputs=1)
        self.gate_bias = weight(scope, 'gate_proj.bias', (hidden,), axes[1:], zeros) if bias else None
        self.up_bias = weight(scope, 'up_proj.bias', (hidden,), axes[1:], zeros) if bias else None
        self.down_bias = weight(scope, 'down_proj.bias', (width,), (None,), zeros) if bias else None

    def __call__(self, x: jax.Array) -> jax.Array:
        gate, up = product(x, self.gate, self.gate_bias), product(x, self.up, self.up_bias)
        return product(jax.nn.silu(gate) * up, self.down, self.down_bias)


def norm_scale(scope: Scope, name: str, width: int) -> nnx.Param:
    """The scale of an RMS norm over `width` numbers, replicated on every device."""
    return weight(scope, name, (width,), (None,), ones)
