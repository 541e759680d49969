"""One declaration per weight: shape, logical axes, initializer and Hugging Face name in a single row.

A row rides on its `nnx.Param` as metadata. The abstract tree (`nnx.eval_shape`), the shardings (`sharding.shardings`),
the initial values, the import and the export are all read off it.

    stored (Hugging Face)                    ours
    Linear      [out, in]                    [*in dims, *out dims]          inputs = number of in dims
    Conv3d      [out, channel, t, y, x]      [channel * t * y * x, out]     inputs = 1, stored_shape given
    Embedding   [vocabulary, width]          the same                       inputs = 0, stored_shape given
    norm, bias  [out]                        [*out dims]                    inputs = 0
    N layers    N tensors, `{}` in the name  a leading axis 'layers'
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx


@dataclasses.dataclass(frozen=True)
class Row:
    """The declaration of one weight.

    Attributes:
      name: Hugging Face tensor name; `{}` stands for the layer number when `layers` is given.
      shape: shape of one layer, without the leading 'layers' axis.
      axes: logical axis of every dimension of the array, 'layers' first when stacked.
      inputs: number of leading dimensions of `shape` that a matrix product contracts; 0 for what is stored as it is.
      stored_shape: shape of one stored tensor.
      layers: number of stacked layers, or None.
    """

    name: str
    shape: tuple[int, ...]
    axes: tuple[str | None, ...]
    inputs: int
    stored_shape: tuple[int, ...]
    layers: int | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The stored tensors of this row, one per layer."""
        return (self.name,) if self.layers is None else tuple(self.name.format(i) for i in range(self.layers))


@dataclasses.dataclass(frozen=True)
class Scope:
    """Where weights are being declared: random numbers (None: zeros, where shapes alone are asked), parameter dtype, name prefix, number of
    stacked layers."""

    rngs: nnx.Rngs | None
    dtype: jnp.dtype
    prefix: str = ''
    layers: int | None = None

    def child(self, name: str, layers: int | None = None) -> Scope:
        """The scope named `prefix + name`; with `layers`, everything declared in it is stacked."""
        return dataclasses.replace(self, prefix=self.prefix + name, layers=self.layers if layers is None else layers)


def weight(
    scope: Scope,
    name: str,
    shape: tuple[int, ...],
    axes: tuple[str | None, ...],
    init: Callable,
    inputs: int = 0,
    stored_shape: tuple[int, ...] | None = None,
) -> nnx.Param:
    """Declares one weight.

    Args:
      scope: prefix, layers, dtype and random numbers.
      name: Hugging Face name below the scope's prefix.
      shape: shape of one layer.
      axes: logical axis names, one per dimension of `shape` (None: never sharded).
      init: `init(draw_key, shape, dtype)`; called with the stacked shape; `draw_key()` gives a fresh key.
      inputs: number of leading input dimensions, see the module docstring.
      stored_shape: shape of the stored tensor where the rule in the module docstring does not give it.

    Raises:
      ValueError: when `axes` does not name every dimension.
    """
    if len(axes) != len(shape):
        raise ValueError(f'{scope.prefix}{name}: {len(axes)} logical axes for shape {shape}; name every dimension.')
    if stored_shape is None:
        out = math.prod(shape[inputs:])
        stored_shape = (out, math.prod(shape[:inputs])) if inputs else (out,)
    row = Row(scope.prefix + name, shape, axes, inputs, stored_shape, scope.layers)
    if scope.layers is not None:
        row = dataclasses.replace(row, axes=('layers', *axes))
        shape = (scope.layers, *shape)
    value = jnp.zeros(shape, scope.dtype) if scope.rngs is None else init(scope.rngs.params, shape, scope.dtype)
    return nnx.Param(value, row=row)


def ones(draw_key: Callable[[], jax.Array], shape: tuple[int, ...], dtype: jnp.dtype) -> jax.Array:
    del draw_key
    return jnp.ones(shape, dtype)


def zeros(draw_key: Callable[[], jax.Array], shape: tuple[int, ...], dtype: jnp.dtype) -> jax.Array:
    del draw_key
    return jnp.zeros(shape, dtype)


def normal(std: float) -> Callable:
    """Initializer: independent normal values with standard deviation `std`."""

    def init(draw_key: Callable[[], jax.Array], shape: tuple[int, ...], dtype: jnp.dtype) -> jax.Array:
        def one(key: jax.Array) -> jax.Array:
            return (std * jax.random.normal(key, shape[1:], jnp.float32)).astype(dtype)

        # The 'rbg' generator's output is whole on every device before it is cut to a sharding; the loop over stacked
        # layers bounds it to one layer. Tables have two dimensions and no layers.
        if len(shape) < 3:
            return (std * jax.random.normal(draw_key(), shape, jnp.float32)).astype(dtype)
        return jax.lax.map(one, jax.random.split(draw_key(), shape[0]))

    return init


def is_variable(leaf) -> bool:
    """True for the nodes of a state tree that carry a row (for `jax.tree.map(..., is_leaf=is_variable)`)."""
    return isinstance(leaf, nnx.Variable)


def layer_row(row: Row, layer: int) -> Row:
    """The declaration of one layer of a stacked weight."""
    return dataclasses.replace(row, name=row.name.format(layer), axes=row.axes[1:], layers=None)


def turned(leaf: nnx.Variable) -> nnx.Variable:
    """A matrix with its outputs before its inputs, for `layers.product`; `inputs` of its row are then the last dimensions. What no product
    contracts stays as it is."""
    row = leaf.get_metadata()['row']
    if not row.inputs:
        return leaf

    def behind(parts: Sequence) -> tuple:
        return (*parts[row.inputs :], *parts[: row.inputs])

    value = leaf.get_value()
    return leaf.copy(value.transpose(behind(range(value.ndim))), row=dataclasses.replace(row, shape=behind(row.shape), axes=behind(row.axes)), turned=True)


def is_turned(leaf: nnx.Variable) -> bool:
    return leaf.get_metadata().get('turned', False)


def rows(state) -> Iterator[tuple[nnx.Variable, Row]]:
    """Every variable of a state (abstract or real) with its row, in tree order."""
    for leaf in jax.tree.leaves(state, is_leaf=is_variable):
        yield leaf, leaf.get_metadata()['row']


def to_stored(row: Row, value: np.ndarray) -> np.ndarray:
    """One layer's array as Hugging Face stores it; `value` has `row.shape`."""
    if not row.inputs:
        return np.ascontiguousarray(value.reshape(row.stored_shape))
    matrix = value.reshape(math.prod(row.shape[: row.inputs]), -1)
    return np.ascontiguousarray(matrix.T).reshape(row.stored_shape)


def from_stored(row: Row, tensor: np.ndarray) -> np.ndarray:
    """Inverse of `to_stored`."""
    if not row.inputs:
        return tensor.reshape(row.shape)
    return tensor.reshape(math.prod(row.shape[row.inputs :]), -1).T.reshape(row.shape)
