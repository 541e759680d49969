"""Parts that the vision tower and the decoder share.

Axes: D width, F hidden of the MLP, H head size; leading axes are free.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx

from recoder_jax.models.qwen2_5_vl.attention_splash import SAVED
from recoder_jax.models.weights import Scope, normal, ones, weight, zeros


def product(x: jax.Array, w: nnx.Param, bias: nnx.Param | None = None, inputs: int = 1) -> jax.Array:
    """The last `inputs` dimensions of x contracted with the first of w, and a bias, in the dtype of x: [..., *in], [*in, *out], [*out] -> [..., *out].

    The leading dimensions are one while multiplying: with several, XLA on CPUs runs the products of the backward pass 3 x slower. A bias is
    added to float32 sums, but to the rounded product where that has several dimensions (heads): for those XLA on TPUs writes the sums out,
    a fifth more memory traffic in an update of stage 1 on v5e.
    """
    lead, kernel = x.shape[: x.ndim - inputs], w[...].astype(x.dtype)
    x = x.reshape(-1, *x.shape[x.ndim - inputs :])
    if bias is None:
        out = _multiplied(x, kernel)
    elif kernel.ndim > inputs + 1:
        out = _multiplied(x, kernel) + bias[...].astype(x.dtype)
    else:
        out = _affine(x, kernel, bias[...].astype(x.dtype))
    return out.reshape(*lead, *kernel.shape[inputs:])


def _multiplied(x: jax.Array, kernel: jax.Array, **options) -> jax.Array:
    """All dimensions of x [N, *in] but the first contracted with the first of kernel [*in, *out] -> [N, *out]."""
    inputs = x.ndim - 1
    return jax.lax.dot_general(x, kernel, ((tuple(range(1, inputs + 1)), tuple(range(inputs))), ((), ())), **options)


@jax.custom_vjp
def _affine(x: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
    """x [N, *in] times kernel [*in, *out] plus bias [*out], rounded once: the bias is added to the float32 sums of the product.

    By jax's own rule the cotangents of such sums, and with them the products of the backward pass, would be float32.
    """
    return (_multiplied(x, kernel, preferred_element_type=jnp.float32) + bias.astype(jnp.float32)).astype(x.dtype)


def _affine_forward(x: jax.Array, kernel: jax.Array, bias: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _affine(x, kernel, bias), (x, kernel)


def _affine_backward(held: tuple[jax.Array, jax.Array], cotangent: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    x, kernel = held
    to_x = jax.linear_transpose(lambda x: _multiplied(x, kernel), x)
    to_kernel = jax.linear_transpose(lambda kernel: _multiplied(x, kernel), kernel)
    return *to_x(cotangent), *to_kernel(cotangent), cotangent.sum(axis=0)


_affine.defvjp(_affine_forward, _affine_backward)


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
    """SwiGLU: `(silu(x gate) * (x up)) down`, with biases in the vision tower, whose gates are computed in float32: its features are then as near as transformers'."""

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
        between = jnp.float32 if self.gate_bias is not None else x.dtype
        gate, up = (product(x, w, bias).astype(between) for w, bias in ((self.gate, self.gate_bias), (self.up, self.up_bias)))
        return product((jax.nn.silu(gate) * up).astype(x.dtype), self.down, self.down_bias)


def norm_scale(scope: Scope, name: str, width: int) -> nnx.Param:
    """The scale of an RMS norm over `width` numbers, replicated on every device."""
    return weight(scope, name, (width,), (None,), ones)
