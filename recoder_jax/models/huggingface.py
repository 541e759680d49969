"""Import and export of Hugging Face checkpoints (safetensors), streamed.

Import reads, for each device, only the slices of the stored tensors that lie on it, one weight at a time and in chunks: the
host holds one slice of one stacked weight, and maps one chunk of a file. Export holds one output shard. Names, shapes and
transposes come from the rows of `models/weights.py`.
"""

from __future__ import annotations

import dataclasses
import gc
import json
import math
import os
import pathlib
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping

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
_CHUNK = 4 << 20  # bytes that are read at once: they stay in the processor's cache while they are transposed
# What AWQ and GPTQ, fp8 and compressed-tensors, and bitsandbytes store beside or in place of a weight.
_QUANTISED = re.compile(
    r'\.(qweight|qzeros|scales|g_idx|weight_(packed|scale|zero_point)\w*|input_scale)$'
    r'|\.(SCB|\w*absmax|\w*quant_map|quant_state\..*)$'
)

Progress = Callable[[Iterable], Iterable]
Put = Callable[[np.ndarray, jax.Device], jax.Array]


@dataclasses.dataclass(frozen=True)
class StoredTensor:
    """One tensor of a checkpoint; `[slices]` reads a part. Its file is mapped only while it is read.

    Attributes:
      file: the safetensors file.
      name: the tensor's name in that file.
      shape: its shape.
      dtype: its dtype as safetensors writes it, such as 'BF16'.
    """

    file: pathlib.Path
    name: str
    shape: tuple[int, ...]
    dtype: str

    def __getitem__(self, index) -> np.ndarray:
        with safe_open(self.file, 'np') as file:
            return file.get_slice(self.name)[index]


class StoredTensors(Mapping[str, StoredTensor]):
    """The tensors of a checkpoint directory under the hub's names (`visual.*`, `model.*`, `lm_head.weight`).

    Newer transformers call the same tensors `model.visual.*` and `model.language_model.*`; both are understood. With an
    index, the files are those it names, and others of the directory are not looked at; without one, all are read.

    Raises:
      FileNotFoundError: no file, or not one that the index names.
      ValueError: an unreadable file or index, a tensor that is there twice, or an index that contradicts the files.
    """

    def __init__(self, directory: pathlib.Path):
        self.directory = directory
        self._tensors: dict[str, StoredTensor] = {}
        index = directory / _INDEX
        listed = _weight_map(index) if index.exists() else None
        for file in sorted(set(listed.values())) if listed else _safetensors(directory):
            for tensor in _header(file):
                name = _hub_name(tensor.name)
                if name in self._tensors:
                    raise ValueError(f'{directory} holds tensor {name} twice; remove the files that do not belong.')
                self._tensors[name] = tensor
        for name, file in (listed or {}).items():
            if name not in self._tensors or self._tensors[name].file != file:
                raise ValueError(f'{file} lacks tensor {name}, which {_INDEX} places there; download it again.')
        for name, tensor in self._tensors.items():
            if listed and name not in listed:
                raise ValueError(f'{tensor.file} holds tensor {name}, which {_INDEX} does not list; download it again.')

    def __getitem__(self, name: str) -> StoredTensor:
        return self._tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


def _safetensors(directory: pathlib.Path) -> list[pathlib.Path]:
    files = sorted(directory.glob('*.safetensors'))
    if not files:
        raise FileNotFoundError(f'{directory} holds no .safetensors file; give a Hugging Face checkpoint.')
    return files


def _weight_map(index: pathlib.Path) -> dict[str, pathlib.Path]:
    """The index of a checkpoint: tensor, under the hub's name, -> its file."""
    listed = _read_json(index).get('weight_map')
    if not isinstance(listed, dict) or not listed or not all(isinstance(file, str) for file in listed.values()):
        raise ValueError(f'{index} has no weight_map from tensors to files; download it again.')
    for file in listed.values():
        if not (index.parent / file).is_file():
            raise FileNotFoundError(f'{index.parent} lacks {file}, named in {_INDEX}; download it again.')
    return {_hub_name(name): index.parent / file for name, file in listed.items()}


def _header(path: pathlib.Path) -> list[StoredTensor]:
    """The tensors of one file, of which only the header is read."""
    try:
        with safe_open(path, 'np') as file:
            parts = {name: file.get_slice(name) for name in file.keys()}
            return [StoredTensor(path, name, tuple(part.get_shape()), part.get_dtype()) for name, part in parts.items()]
    except (SafetensorError, OSError) as error:
        raise ValueError(f'{path} is not a readable safetensors file ({error}); download it again.') from None


def import_policy(
    directory: str | os.PathLike,
    mesh: jax.sharding.Mesh | None = None,
    param_dtype: str | None = None,
    progress: Progress = iter,
    put: Put = jax.device_put,
) -> tuple[Config, nnx.State]:
    """Reads a Hugging Face Qwen2.5-VL checkpoint.

    Args:
      directory: holds config.json and *.safetensors.
      mesh: where the weights go; None: the first device.
      param_dtype: 'float32' or 'bfloat16'; None: as config.json says.
      progress: wraps the iteration over weights, for a progress bar.
      put: places a block that was read on its device; another than jax's can count what lies there.

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
    stored = StoredTensors(directory)
    _check(stored, state, config)
    pairs = zip(weights.rows(state), jax.tree.leaves(placed), strict=True)
    arrays = [_place(stored, row, leaf.get_value(), place, put) for (leaf, row), place in progress(list(pairs))]
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
        values = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f'{path} is not valid JSON ({error}); download it again.') from None
    if not isinstance(values, dict):
        raise ValueError(f'{path} is not a JSON object; download it again.')
    return values


def _hub_name(name: str) -> str:
    """The hub's name of a tensor, whichever of the two styles `name` has."""
    for new, old in (('model.visual.', 'visual.'), ('model.language_model.', 'model.')):
        if name.startswith(new):
            return old + name.removeprefix(new)
    return name


def _check(stored: StoredTensors, state: nnx.State, config: Config) -> None:
    """Raises ValueError that names the first tensor that is quantised, missing, extra or misshaped."""
    expected = {name: row for _, row in weights.rows(state) for name in row.names}
    extra = sorted(set(stored) - set(expected))
    where = stored.directory
    for name in extra:
        if _QUANTISED.search(name):
            raise ValueError(f'{where} is quantised (tensor {name}); use the unquantised weights.')
    for name in sorted(stored.keys() & expected.keys()):
        dtype = stored[name].dtype
        if dtype not in _DTYPES:
            raise ValueError(f'{where} is quantised (tensor {name} has dtype {dtype}); use the unquantised weights.')
    if config.text.tied and _repeats_embedding(stored):
        extra.remove('lm_head.weight')
    missing = sorted(set(expected) - set(stored))
    remedy = 'take config.json and tensors from one checkpoint'
    if missing:
        raise ValueError(f'{where} lacks {len(missing)} tensors of its config.json, first {missing[0]}; {remedy}.')
    if extra:
        raise ValueError(f'{where} holds {len(extra)} tensors not of its config.json, first {extra[0]}; {remedy}.')
    for name, row in expected.items():
        shape = stored[name].shape
        if shape != row.stored_shape:
            raise ValueError(f'{where}: {name} has shape {shape}, its config.json asks for {row.stored_shape}; {remedy}.')


def _repeats_embedding(stored: StoredTensors, chunk: int = 8192) -> bool:
    """Whether there is a head beside the tied embedding that is a copy of it; read in chunks of rows."""
    head, table = stored.get('lm_head.weight'), stored.get('model.embed_tokens.weight')
    if head is None or table is None or (head.shape, head.dtype) != (table.shape, table.dtype):
        return False
    size = head.shape[0]
    pieces = (slice(i, min(i + chunk, size)) for i in range(0, size, chunk))
    return all(np.array_equal(head[piece], table[piece]) for piece in pieces)


def _placement(state: nnx.State, mesh: jax.sharding.Mesh | None):
    if mesh is not None:
        return sharding.shardings(state, mesh)
    device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.tree.map(lambda _: device, state)


def _place(
    stored: StoredTensors, row: weights.Row, abstract: jax.ShapeDtypeStruct, place: jax.sharding.Sharding, put: Put
) -> jax.Array:
    """One weight, read slice by slice onto its devices; replicas share one reading."""
    devices: dict[tuple[tuple[int, int], ...], list[jax.Device]] = {}
    for device, index in place.addressable_devices_indices_map(abstract.shape).items():
        bounds = tuple(part.indices(size)[:2] for part, size in zip(index, abstract.shape, strict=True))
        devices.setdefault(bounds, []).append(device)
    pieces = []
    for bounds, replicas in devices.items():
        block = _block(stored, row, abstract, tuple(slice(*bound) for bound in bounds))
        pieces += [jax.block_until_ready(put(block, device)) for device in replicas]
        # jax lets go of a block that it has copied only when Python collects: without it the next one comes on top
        del block
        gc.collect(0)
    return jax.make_array_from_single_device_arrays(abstract.shape, place, pieces)


def _block(
    stored: StoredTensors, row: weights.Row, abstract: jax.ShapeDtypeStruct, index: tuple[slice, ...]
) -> np.ndarray:
    """The part `index` of a weight, layers stacked, in the dtype of `abstract`."""
    out = np.empty([part.stop - part.start for part in index], abstract.dtype)
    if row.layers is None:
        _fill(out, stored[row.name], row, index)
    else:
        for layer, name in zip(out, row.names[index[0]], strict=True):
            _fill(layer, stored[name], row, index[1:])
    return out


def _fill(out: np.ndarray, tensor: StoredTensor, row: weights.Row, index: tuple[slice, ...]) -> None:
    """Writes the part `index` of one layer's array to `out`, in chunks of stored rows."""
    if len(row.stored_shape) != 2:
        out[...] = _read(tensor, row, index)
        return
    axis = row.inputs  # the dimension of ours along which the stored rows lie
    first, last = index[axis].start, index[axis].stop
    step = max(1, _CHUNK * (last - first) // out.nbytes)
    if row.shape[axis + 1 :] != tuple(part.stop - part.start for part in index[axis + 1 :]):
        step = 1  # the rows of several positions are not neighbours
    for start in range(first, last, step):
        chunk = slice(start, min(start + step, last))
        part = _read(tensor, row, (*index[:axis], chunk, *index[axis + 1 :]))
        out[(slice(None),) * axis + (slice(chunk.start - first, chunk.stop - first),)] = part


def _read(tensor: StoredTensor, row: weights.Row, index: tuple[slice, ...]) -> np.ndarray:
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
    if first.stop - first.start == 1 and len(shape) > 1:
        flat, covered, rest = _cover(shape[1:], index[1:])
        offset = first.start * inner
        return slice(offset + flat.start, offset + flat.stop), (1, *covered), (slice(None), *rest)
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
