"""Writes a Hugging Face checkpoint of the names, shapes and dtype of a published size, with pseudo-random content:

    python -m tests.synthetic_checkpoint --preset=7b --out=DIR [--shard-gb=4] [--names=hub|new]

The files are laid out as on the hub: layer after layer, so that a stacked weight lies in all of them. They are written
by the format of safetensors itself, one tensor at a time: a few hundred MB of memory, whatever the size.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import pathlib
import re
import sys
import zlib
from collections.abc import Iterable, Iterator

import ml_dtypes
import numpy as np
from flax import nnx
from tqdm import tqdm

from recoder_jax.models import weights
from recoder_jax.models.qwen2_5_vl.config import Config, preset
from recoder_jax.models.qwen2_5_vl.model import abstract_model

_DTYPES = {'BF16': ml_dtypes.bfloat16, 'F16': np.float16, 'F32': np.float32}
_POOL = 1 << 22  # values that are drawn; every tensor repeats them from a place of its own


def write(
    directory: pathlib.Path,
    config: Config,
    shard_bytes: int = 4 << 30,
    names: str = 'hub',
    dtype: str = 'BF16',
    progress=iter,
) -> None:
    """Writes config.json, the shards and their index into a new directory.

    Args:
      directory: must not exist.
      config: the sizes.
      shard_bytes: largest size of a shard, but for a tensor that is larger alone.
      names: 'hub' (`visual.*`, `model.*`) or 'new' (`model.visual.*`, `model.language_model.*`).
      dtype: 'BF16', 'F16' or 'F32'.
      progress: wraps the iteration over shards.
    """
    directory.mkdir(parents=True)
    shapes = stored_shapes(config)
    shards = _shards(shapes, np.dtype(_DTYPES[dtype]).itemsize, shard_bytes)
    pool = _pool(dtype)
    weight_map = {}
    for number, shard in enumerate(progress(shards), 1):
        file = f'model-{number:05d}-of-{len(shards):05d}.safetensors'
        named = {styled(name, names): shapes[name] for name in shard}
        _write_shard(directory / file, named, pool, dtype)
        weight_map.update(dict.fromkeys(named, file))
    total = sum(math.prod(shape) for shape in shapes.values()) * pool.itemsize
    index = {'metadata': {'total_size': total}, 'weight_map': weight_map}
    (directory / 'model.safetensors.index.json').write_text(json.dumps(index, indent=2))
    torch_dtype = {'BF16': 'bfloat16', 'F16': 'float16', 'F32': 'float32'}[dtype]
    (directory / 'config.json').write_text(json.dumps(config.to_hf() | {'torch_dtype': torch_dtype}, indent=2))


def stored_shapes(config: Config) -> dict[str, tuple[int, ...]]:
    """Shape of every tensor under the hub's name, layer after layer."""
    rows = [row for _, row in weights.rows(nnx.state(abstract_model(config)))]
    shapes = {name: row.stored_shape for row in rows for name in row.names}
    return {name: shapes[name] for name in sorted(shapes, key=_natural)}


def content(name: str, shape: tuple[int, ...], dtype: str = 'BF16') -> np.ndarray:
    """What the tensor of this stored name holds."""
    return np.concatenate([*_pieces(name, shape, _pool(dtype))]).reshape(shape)


@functools.cache
def _pool(dtype: str) -> np.ndarray:
    """Normal values of standard deviation 0.02."""
    return np.random.default_rng(0).normal(0, 0.02, _POOL).astype(_DTYPES[dtype])


def _pieces(name: str, shape: tuple[int, ...], pool: np.ndarray) -> Iterator[np.ndarray]:
    left, start = math.prod(shape), zlib.crc32(name.encode()) % pool.size
    while left:
        piece = pool[start : start + left]
        yield piece
        left, start = left - piece.size, 0


def _write_shard(path: pathlib.Path, shapes: dict[str, tuple[int, ...]], pool: np.ndarray, dtype: str) -> None:
    """Eight bytes of the header's length, the header in JSON, the tensors one after the other."""
    header, end = {'__metadata__': {'format': 'pt'}}, 0
    for name, shape in shapes.items():
        start, end = end, end + math.prod(shape) * pool.itemsize
        header[name] = {'dtype': dtype, 'shape': shape, 'data_offsets': (start, end)}
    text = json.dumps(header).encode()
    text += b' ' * (-len(text) % 8)
    with path.open('wb') as file:
        file.write(len(text).to_bytes(8, 'little') + text)
        for name, shape in shapes.items():
            for piece in _pieces(name, shape, pool):
                file.write(piece.view(np.uint8).data)


def _shards(shapes: dict[str, tuple[int, ...]], itemsize: int, shard_bytes: int) -> list[list[str]]:
    shards, size = [[]], 0
    for name, shape in shapes.items():
        one = math.prod(shape) * itemsize
        if shards[-1] and size + one > shard_bytes:
            shards.append([])
            size = 0
        shards[-1].append(name)
        size += one
    return shards


def _natural(name: str) -> list[tuple[int, str]]:
    """A key that sorts layer 2 before layer 10."""
    return [(int(part), '') if part.isdigit() else (-1, part) for part in re.split(r'(\d+)', name)]


def styled(name: str, names: str) -> str:
    """The hub's name of a tensor in the style `names`."""
    if names == 'hub' or name == 'lm_head.weight':
        return name
    return f'model.{name}' if name.startswith('visual.') else name.replace('model.', 'model.language_model.', 1)


def main(arguments: Iterable[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog='python -m tests.synthetic_checkpoint', description=__doc__.split('\n')[0])
    parser.add_argument('--preset', default='7b', help='size: 3b, 7b, 72b, tiny, 100m (default 7b)')
    parser.add_argument('--out', type=pathlib.Path, required=True, help='directory to write; must not exist')
    parser.add_argument('--shard-gb', type=float, default=4.0, help='largest file, in GB (default 4)')
    parser.add_argument('--names', choices=('hub', 'new'), default='hub', help='style of the names (default hub)')
    parser.add_argument('--dtype', choices=tuple(_DTYPES), default='BF16', help='dtype of the tensors (default BF16)')
    options = parser.parse_args(arguments)
    if options.out.exists():
        parser.error(f'{options.out} exists; choose another directory or remove it')
    config = preset(options.preset)
    write(options.out, config, int(options.shard_gb * 1e9), options.names, options.dtype, progress=tqdm)
    print(f'{config.parameters():,} weights in {options.dtype} written to {options.out}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
