"""Import and export of Hugging Face checkpoints (safetensors), streamed.

Import reads, for each device, only the slices of the stored tensors that lie on it, one weight at a time: the host holds
one device's slice of one stacked weight. Export holds one output shard. Names, shapes and transposes come from the rows
of `models/weights.py`.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import pathlib
import shutil
from collections.abc import Callable, Iterable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from recoder_jax import sharding
from recoder_jax.models import weights
from recoder_jax.models.qwen2_5_vl.config import Config
from recoder_jax.models.qwen2_5_vl.model import abstract_model

TOKENIZER_FILES = (
    'tokenizer.json', 'tokenizer_config.json', 'vocab.json', 'merges.txt', 'special_tokens_map.json', 'added_tokens.json',
    'chat_template.json', 'chat_template.jinja', 'preprocessor_config.json', 'video_preprocessor_config.json',
    'processor_config.json', 'generation_config.json',
)  # fmt: skip
_DTYPES = ('F64', 'F32', 'F16', 'BF16')
_INDEX = 'model.safetensors.index.json'

Progress = Callable[[Iterable], Iterable]


class StoredTensors:
    """The tensors of a checkpoint directory under the hub's names (`visual.*`, `model.*`, `lm_head.weight`).

    Newer transformers call the same tensors `model.visual.*` and `model.language_model.*`; both are understood. A context
    manager, as it keeps the files open.
    """

    def __init__(self, directory: pathlib.Path):
        self.directory = directory
        self._stack = contextlib.ExitStack()
        self._where: dict[str, tuple[safe_open, str]] = {}
        for path in self._files():
            try:
                file = self._stack.enter_context(safe_open(path, 'np'))
            except (SafetensorError, OSError) as error:
                raise ValueError(f'{path} is not a readable safetensors file ({error}); download it again.') from None
            for stored in file.keys():
                name = _hub_name(stored)
                if name in self._where:
                    raise ValueError(f'{directory} holds tensor {name} twice; remove the files that do not belong.')
                self._where[name] = (file, stored)

    def _files(self) -> list[pathlib.Path]:
        index = self.directory / _INDEX
        if index.exists():
            files = sorted(set(_read_json(index)['weight_map'].values()))
            missing = [name for name in files if not (self.directory / name).exists()]
            if missing:
                raise FileNotFoundError(f'{self.directory} lacks {missing[0]}, named in {_INDEX}; download it again.')
            return [self.directory / name for name in files]
        files = sorted(self.directory.glob('*.safetensors'))
        if not files:
            raise FileNotFoundError(f'{self.directory} holds no .safetensors file; give a Hugging Face checkpoint.')
        return files

    def __enter__(self) -> StoredTensors:
        return self

    def __exit__(self, *error) -> None:
        self._stack.close()

    def __contains__(self, name: str) -> bool:
        return name in self._where

    def names(self) -> set[str]:
        return set(self._where)

    def tensor(self, name: str):
        """A lazily read tensor: `get_shape()`, `get_dtype()`, `[slices]`."""
        file, stored = self._where[name]
        return file.get_slice(stored)


def import_policy(
    directory: str | os.PathLike,
    mesh: jax.sharding.Mesh | None = None,
    param_dtype: str | None = None,
    progress: Progress = iter,
) -> tuple[Config, nnx.State]:
    """Reads a Hugging Face Qwen2.5-VL checkpoint.

    Args:
      directory: holds config.json and *.safetensors.
      mesh: where the weights go; None: the first device.
      param_dtype: 'float32' or 'bfloat16'; None: as config.json says.
      progress: wraps the iteration over weights, for a progress bar.

    Returns:
      The config and the state of `Qwen2_5_VL`, as `nnx.split` gives it.

    Raises:
      FileNotFoundError: no such checkpoint.
      ValueError: another architecture, a quantised checkpoint, or a missing, extra or misshaped tensor, by name.
    """
    directory = pathlib.Path(directory)
    config = read_config(directory)
    if param_dtype:
        config = config.replace(param_dtype=param_dtype)
    state = nnx.state(abstract_model(config))
    placed = _placement(state, mesh)
    with StoredTensors(directory) as stored:
        _check(stored, state, config)
        pairs = zip(weights.rows(state), jax.tree.leaves(placed), strict=True)
        arrays = [_place(stored, row, leaf.get_value(), place) for (leaf, row), place in progress(list(pairs))]
    return config, jax.tree.unflatten(jax.tree.structure(state), arrays)


def export_policy(
    directory: str | os.PathLike,
    config: Config,
    state: nnx.State,
    tokenizer: str | os.PathLike | None = None,
    shard_bytes: int = 4 << 30,
    progress: Progress = iter,
) -> None:
    """Writes config.json, safetensors shards and their index, in the form of the hub; appears whole or not at all.

    Args:
      directory: must not exist, or be empty.
      config, state: the policy; weights are written in their own dtype.
      tokenizer: directory whose tokenizer and processor files are copied.
      shard_bytes: largest size of a shard, but for a tensor that is larger alone.
      progress: wraps the iteration over shards.

    Raises:
      ValueError: the directory is not empty, or the weights lie on several hosts.
    """
    directory = pathlib.Path(directory)
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise ValueError(f'{directory} exists and is not empty; choose another directory or remove it.')
    leaves = list(weights.rows(state))
    if not all(leaf.get_value().is_fully_addressable for leaf, _ in leaves):
        raise ValueError('The weights lie on several hosts; save a policy checkpoint and export it on one host.')
    partial = directory.with_name(directory.name + '.partial')
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    shards = _plan_shards(leaves, shard_bytes)
    weight_map: dict[str, str] = {}
    for number, shard in enumerate(progress(shards), 1):
        file = f'model-{number:05d}-of-{len(shards):05d}.safetensors'
        tensors = {name: _stored(leaf, row, layer) for name, leaf, row, layer in shard}
        save_file(tensors, partial / file, metadata={'format': 'pt'})
        weight_map.update(dict.fromkeys(tensors, file))
    total = sum(leaf.get_value().nbytes for leaf, _ in leaves)
    index = {'metadata': {'total_size': total}, 'weight_map': dict(sorted(weight_map.items()))}
    (partial / _INDEX).write_text(json.dumps(index, indent=2) + '\n')
    (partial / 'config.json').write_text(json.dumps(config.to_hf(), indent=2) + '\n')
    if tokenizer is not None:
        copy_tokenizer(tokenizer, partial)
    partial.rename(directory)


def copy_tokenizer(source: str | os.PathLike, target: str | os.PathLike) -> list[str]:
    """Copies the tokenizer and processor files that `source` has; returns their names."""
    names = [name for name in TOKENIZER_FILES if (pathlib.Path(source) / name).is_file()]
    for name in names:
        shutil.copyfile(pathlib.Path(source) / name, pathlib.Path(target) / name)
    return names


def read_config(directory: pathlib.Path) -> Config:
    """The config of a Hugging Face checkpoint directory.

    Raises:
      FileNotFoundError: no config.json. ValueError: not JSON, or not a Qwen2.5-VL config.
    """
    path = directory / 'config.json'
    if not path.is_file():
        raise FileNotFoundError(f'{path} does not exist; give a directory with a Hugging Face checkpoint.')
    return Config.from_hf(_read_json(path))


def _read_json(path: pathlib.Path) -> dict:
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f'{path} is not valid JSON ({error}); download it again.') from None


def _hub_name(name: str) -> str:
    """The hub's name of a tensor, whichever of the two styles `name` has."""
    for new, old in (('model.visual.', 'visual.'), ('model.language_model.', 'model.')):
        if name.startswith(new):
            return old + name.removeprefix(new)
    return name


def _check(stored: StoredTensors, state: nnx.State, config: Config) -> None:
    """Raises ValueError that names the first tensor that is missing, extra, misshaped or not plain floating point."""
    expected = {name: row for _, row in weights.rows(state) for name in row.names}
    extra = sorted(stored.names() - set(expected))
    if config.text.tied and 'lm_head.weight' in extra and _repeats_embedding(stored):
        extra.remove('lm_head.weight')
    where = stored.directory
    for name in extra:
        if name.endswith(('.qweight', '.qzeros', '.scales', '.weight_scale', '.weight_scale_inv', '.g_idx')):
            raise ValueError(f'{where} is quantised (tensor {name}); use the unquantised weights.')
    missing = sorted(set(expected) - stored.names())
    if missing:
        raise ValueError(f'{where} lacks {len(missing)} tensors that its config.json asks for, first {missing[0]}.')
    if extra:
        raise ValueError(f'{where} holds {len(extra)} tensors that its config.json does not ask for, first {extra[0]}.')
    for name, row in expected.items():
        shape, dtype = tuple(stored.tensor(name).get_shape()), stored.tensor(name).get_dtype()
        if shape != row.stored_shape:
            raise ValueError(f'{where}: tensor {name} has shape {shape}, its config.json asks for {row.stored_shape}.')
        if dtype not in _DTYPES:
            raise ValueError(f'{where}: tensor {name} has dtype {dtype} (quantised); use the unquantised weights.')


def _repeats_embedding(stored: StoredTensors, chunk: int = 8192) -> bool:
    """Whether a head stored beside a tied embedding is a copy of it; read in chunks of rows."""
    head, table = stored.tensor('lm_head.weight'), stored.tensor('model.embed_tokens.weight')
    if head.get_shape() != table.get_shape():
        return False
    size = head.get_shape()[0]
    pieces = (slice(i, min(i + chunk, size)) for i in range(0, size, chunk))
    return all(np.array_equal(head[piece], table[piece]) for piece in pieces)


def _placement(state: nnx.State, mesh: jax.sharding.Mesh | None):
    if mesh is not None:
        return sharding.shardings(state, mesh)
    device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.tree.map(lambda _: device, state)


def _place(
    stored: StoredTensors, row: weights.Row, abstract: jax.ShapeDtypeStruct, place: jax.sharding.Sharding
) -> jax.Array:
    """One weight, read slice by slice onto its devices; neighbouring replicas share one reading."""
    pieces, last, block = [], None, None
    for device, index in place.addressable_devices_indices_map(abstract.shape).items():
        if index != last:
            block, last = _block(stored, row, abstract, index), index
        pieces.append(jax.block_until_ready(jax.device_put(block, device)))
    return jax.make_array_from_single_device_arrays(abstract.shape, place, pieces)


def _block(
    stored: StoredTensors, row: weights.Row, abstract: jax.ShapeDtypeStruct, index: tuple[slice, ...]
) -> np.ndarray:
    """The part `index` of a weight, layers stacked, in the dtype of `abstract`."""
    index = tuple(slice(*part.indices(size)) for part, size in zip(index, abstract.shape, strict=True))
    if row.layers is None:
        return np.ascontiguousarray(_read(stored.tensor(row.name), row, index), dtype=abstract.dtype)
    names = row.names[index[0]]
    out = np.empty((len(names), *(part.stop - part.start for part in index[1:])), abstract.dtype)
    for i, name in enumerate(names):
        out[i] = _read(stored.tensor(name), row, index[1:])
    return out


def _read(tensor, row: weights.Row, index: tuple[slice, ...]) -> np.ndarray:
    """The part `index` of one layer's array, reading only the rows and columns of the stored matrix that hold it."""
    if not row.inputs and row.stored_shape == row.shape:
        return tensor[index]
    if len(row.stored_shape) != 2:
        return weights.from_stored(row, tensor[:])[index]
    n = row.inputs
    into, into_shape, into_rest = _cover(row.shape[:n], index[:n])
    out, out_shape, out_rest = _cover(row.shape[n:], index[n:])
    return tensor[out, into].T.reshape(into_shape + out_shape)[into_rest + out_rest]


def _cover(shape: tuple[int, ...], index: tuple[slice, ...]) -> tuple[slice, tuple[int, ...], tuple[slice, ...]]:
    """Flattened dimensions: the range that covers `index`, its unflattened shape, and what to take of that."""
    inner = math.prod(shape[1:])
    first = index[0]
    flat = slice(first.start * inner, first.stop * inner)
    return flat, (first.stop - first.start, *shape[1:]), (slice(None), *index[1:])


def _plan_shards(leaves: list, shard_bytes: int) -> list[list[tuple]]:
    """Groups (name, variable, row, layer) into shards of at most `shard_bytes`, in order."""
    shards: list[list[tuple]] = [[]]
    size = 0
    for leaf, row in leaves:
        one = math.prod(row.shape) * jnp.dtype(leaf.get_value().dtype).itemsize
        for layer, name in enumerate(row.names):
            if shards[-1] and size + one > shard_bytes:
                shards.append([])
                size = 0
            shards[-1].append((name, leaf, row, layer))
            size += one
    return shards


def _stored(leaf: nnx.Variable, row: weights.Row, layer: int) -> np.ndarray:
    """One stored tensor, on the host."""
    value = leaf.get_value()
    return weights.to_stored(row, np.asarray(value if row.layers is None else value[layer]))
