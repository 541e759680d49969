"""Meshes, and the one table that says on which mesh axis a logical axis lies.

Mesh axes: `data` replicates weights and splits the batch, `fsdp` splits weights and the batch, `tensor` splits heads, MLP
and vocabulary, `sequence` splits weights and the tokens of a row, whose keys and values are gathered. They are Auto axes: the compiler propagates shardings from the inputs and from `constrain`, which acts in
code traced under `jax.set_mesh(mesh)` and is nothing without a mesh.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import jax
import numpy as np
from flax import nnx
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

AXES = ('data', 'fsdp', 'tensor', 'sequence')

# logical axis -> mesh axes
TABLE: dict[str, tuple[str, ...]] = {
    'layers': (),
    'embed': ('fsdp', 'sequence'),
    'heads': ('tensor',),
    'kv_heads': ('tensor',),
    'queries_per_kv': (),
    'head': (),
    'mlp': ('tensor',),
    'vocab': ('tensor',),
    'batch': ('data', 'fsdp'),
    'sequence': ('sequence',),
    'residual': ('sequence', 'tensor'),  # tokens between the products of a block, where heads and hidden units are whole
}
# while sampling, every token reads every weight: they are whole but for the tensor axis
SAMPLING = TABLE | {'embed': ()}


def make_mesh(
    data: int = 1, fsdp: int = -1, tensor: int = 1, sequence: int = 1, devices: Sequence[jax.Device] | None = None
) -> Mesh:
    """A mesh over `devices` (default: all); one size may be -1 and takes the devices that are left.

    Raises:
      ValueError: when the sizes do not multiply to the number of devices.
    """
    devices = jax.devices() if devices is None else list(devices)
    sizes = [data, fsdp, tensor, sequence]
    asked = ', '.join(f'{axis}={size}' for axis, size in zip(AXES, sizes, strict=True))
    if sizes.count(-1) > 1 or any(size < 1 and size != -1 for size in sizes):
        raise ValueError(f'Mesh sizes {asked}: positive numbers, at most one -1.')
    if -1 in sizes:
        sizes[sizes.index(-1)] = len(devices) // math.prod(size for size in sizes if size != -1)
    if math.prod(sizes) != len(devices):
        raise ValueError(
            f'The mesh {asked} does not cover {len(devices)} devices; '
            'choose sizes whose product is that number.'
        )
    types = (AxisType.Auto,) * len(AXES)
    mesh = jax.make_mesh(tuple(sizes), AXES, axis_types=types, devices=devices)
    if len({device.process_index for device in devices}) == 1:
        return mesh
    return Mesh(by_process(mesh.devices), AXES, axis_types=types)


def by_process(devices: np.ndarray) -> np.ndarray:
    """The devices of a mesh over several processes with the rows of each process, [data * fsdp, tensor * sequence], one behind the other in the
    order of processes, as batches of processes lie in the global one. Where the rows, as jax lays them over the wires, cross processes, each
    row is made of neighbours of one process instead.

    Raises:
      ValueError: a row that several processes share.
    """
    rows = devices.reshape(devices.shape[0] * devices.shape[1], -1)
    if any(device.process_index != row[0].process_index for row in rows for device in row):
        together = sorted(devices.flat, key=lambda device: (device.process_index, device.id))
        rows = np.array(together, object).reshape(rows.shape)
    owners = [sorted({device.process_index for device in row}) for row in rows]
    split = next((owner for owner in owners if len(owner) > 1), None)
    if split is not None:
        raise ValueError(
            f'The tensor and sequence axes, {rows.shape[1]} devices, lie over processes {split[0]} and {split[1]}, each of which plays dialogues of '
            'its own; choose tensor and sequence sizes whose product divides the devices of one process.'
        )
    order = sorted(range(len(rows)), key=lambda row: owners[row])
    return rows[order].reshape(devices.shape)


def own_mesh(mesh: Mesh) -> Mesh:
    """The part of a mesh on the devices of this process: all of it where there is one process."""
    if jax.process_count() == 1:
        return mesh
    rows = mesh.devices.reshape(-1, *mesh.devices.shape[2:])
    mine = [row for row in rows if row.flat[0].process_index == jax.process_index()]
    return Mesh(np.stack(mine)[:, None], AXES, axis_types=(AxisType.Auto,) * len(AXES))


def spec(axes: Sequence[str | None], table: dict[str, tuple[str, ...]] | None = None) -> PartitionSpec:
    """The partition of an array with these logical axes.

    Raises:
      ValueError: a logical axis that is not in the table, or a mesh axis used for two dimensions.
    """
    return PartitionSpec(*mesh_axes(axes, table))


def mesh_axes(axes: Sequence[str | None], table: dict[str, tuple[str, ...]] | None = None) -> list[tuple[str, ...] | None]:
    """The mesh axes of each dimension, None where it is whole; a PartitionSpec would turn a tuple of one into a string."""
    table = TABLE if table is None else table
    used: list[str] = []
    entries: list[tuple[str, ...] | None] = []
    for axis in axes:
        if axis is not None and axis not in table:
            raise ValueError(f'Unknown logical axis {axis!r}; the table knows {", ".join(table)}.')
        names = () if axis is None else table[axis]
        clash = [name for name in names if name in used]
        if clash:
            raise ValueError(f'Logical axes {tuple(axes)} put mesh axis {clash[0]!r} on two dimensions; change the table.')
        used.extend(names)
        entries.append(names or None)
    return entries


def sharding(
    shape: Sequence[int], axes: Sequence[str | None], mesh: Mesh, name: str = 'An array', table: dict | None = None
) -> NamedSharding:
    """The sharding of one array on `mesh`, by `table` (default: TABLE).

    Raises:
      ValueError: a dimension that its mesh axes do not divide; the sentence names the remedy.
    """
    entries = mesh_axes(axes, table)
    for size, axis, entry in zip(shape, axes, entries, strict=True):
        parts = math.prod(mesh.shape[name] for name in entry or ())
        if size % parts:
            raise ValueError(
                f'{name}: {axis} has size {size}, which {"*".join(entry)} = {parts} does not divide; '
                f'use a {entry[-1]} size that divides {size} and put the devices on another mesh axis.'
            )
    return NamedSharding(mesh, PartitionSpec(*entries))


def shardings(state, mesh: Mesh, table: dict[str, tuple[str, ...]] | None = None):
    """The shardings of a tree of weights, in its structure: `jax.jit(..., out_shardings=shardings(abstract, mesh))`.

    Args:
      state: an abstract or real state; also a tree that holds states, such as `optax` moments. What carries no row
        (`models.weights`) is replicated.
      mesh: from `make_mesh`.
      table: logical to mesh axes, default TABLE.

    Raises:
      ValueError: an indivisible dimension, named with its tensor.
    """

    def place(leaf):
        row = leaf.get_metadata().get('row') if isinstance(leaf, nnx.Variable) else None
        if row is None:
            return jax.tree.map(lambda _: NamedSharding(mesh, PartitionSpec()), leaf)
        return leaf.replace(sharding(leaf.get_value().shape, row.axes, mesh, row.name, table))

    return jax.tree.map(place, state, is_leaf=lambda leaf: isinstance(leaf, nnx.Variable))


def placement(shape: Sequence[int], axes: Sequence[str | None], mesh: Mesh) -> NamedSharding:
    """Where an input of a jitted function goes: by logical axes, whole along dimensions that their mesh axes do not divide."""
    return NamedSharding(mesh, _fitting(shape, axes, mesh))


def constrain(x: jax.Array, axes: Sequence[str | None]) -> jax.Array:
    """Asks the compiler to lay out `x` by these logical axes, on the mesh of `jax.set_mesh`; nothing where none is set.

    A dimension that its mesh axes do not divide is left to the compiler (a batch of one row has no place to go).
    """
    if len(axes) != x.ndim:
        raise ValueError(f'{len(axes)} logical axes {tuple(axes)} for an array of shape {x.shape}; name every dimension.')
    mesh_axes(axes)  # unknown names are refused with or without a mesh
    mesh = jax.sharding.get_abstract_mesh()
    return x if mesh.empty else jax.lax.with_sharding_constraint(x, _fitting(x.shape, axes, mesh))


def parts(axis: str) -> int:
    """Devices over which a logical axis is split, on the mesh of `jax.set_mesh`; 1 where none is set."""
    mesh = jax.sharding.get_abstract_mesh()
    return 1 if mesh.empty else math.prod(mesh.shape[name] for name in TABLE[axis])


def per_device(function: Callable, axes: Sequence) -> Callable:
    """`function` run by each device on its own part of the arguments, for kernels that the compiler cannot partition.

    Args:
      function: arrays, or trees of arrays, to one array of the shape of the first argument.
      axes: logical axes of each array, in the structure of the arguments. A dimension that its mesh axes do not divide is whole on
        every device.
    """

    def run(*arguments):
        mesh = jax.sharding.get_abstract_mesh()
        if mesh.empty:
            return function(*arguments)
        specs = jax.tree.map(lambda x, names: _fitting(x.shape, names, mesh), arguments, tuple(axes))
        return jax.shard_map(function, in_specs=specs, out_specs=specs[0], check_vma=False)(*arguments)

    return run


def on_shards(function: Callable, ins: tuple, outs) -> Callable:
    """`function` run by each device on the part of the arguments that it holds. ins, outs: trees of PartitionSpec; without a mesh, plainly."""

    def run(*arguments):
        mesh = jax.sharding.get_abstract_mesh()
        if mesh.empty:
            return function(*arguments)
        return jax.shard_map(function, in_specs=ins, out_specs=outs, check_vma=False)(*arguments)

    return run


def _fitting(shape: Sequence[int], axes: Sequence[str | None], mesh) -> PartitionSpec:
    """The partition by logical axes, but for dimensions that their mesh axes do not divide."""
    entries = mesh_axes(axes)
    divided = [size % math.prod(mesh.shape[name] for name in entry or ()) == 0 for size, entry in zip(shape, entries, strict=True)]
    return PartitionSpec(*[entry if fits else None for entry, fits in zip(entries, divided, strict=True)])
