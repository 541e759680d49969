"""A policy on disk in our own form: a directory with

    config.json     the Hugging Face config, and under 'recoder_jax' its dtypes
    params/         the weights as an Orbax tree, readable onto any mesh
    tokenizer/      the tokenizer's files in Hugging Face form, where the source had them

config.json is written last: a directory without it is an interrupted write.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib

import jax
import orbax.checkpoint as ocp
from flax import nnx

from recoder_jax import sharding
from recoder_jax.models.huggingface import copy_tokenizer
from recoder_jax.models.qwen2_5_vl.config import Config
from recoder_jax.models.qwen2_5_vl.model import abstract_model

_RUNTIME = ('dtype', 'param_dtype')


def save_policy(
    path: str | os.PathLike, config: Config, state: nnx.State, tokenizer: str | os.PathLike | None = None
) -> None:
    """Writes a policy checkpoint. On several hosts, every process calls it.

    Args:
      path: must not exist, or be empty.
      config, state: the policy.
      tokenizer: directory whose tokenizer and processor files are copied to `tokenizer/`.

    Raises:
      ValueError: the directory is not empty.
    """
    path = pathlib.Path(path).absolute()
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ValueError(f'{path} exists and is not empty; choose another directory or remove it.')
    path.mkdir(parents=True, exist_ok=True)
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(path / 'params', nnx.to_pure_dict(state))
    if jax.process_index() == 0:
        if tokenizer is not None:
            (path / 'tokenizer').mkdir()
            copy_tokenizer(tokenizer, path / 'tokenizer')
        write_config(path, config)


def load_policy(
    path: str | os.PathLike, mesh: jax.sharding.Mesh | None = None, dtype: str | None = None, param_dtype: str | None = None
) -> tuple[Config, nnx.State]:
    """Reads a policy checkpoint onto `mesh` (None: the first device), optionally in other dtypes.

    Raises:
      FileNotFoundError: no complete checkpoint at `path`.
      ValueError: config.json and the weights do not belong together.
    """
    path = pathlib.Path(path).absolute()
    config = load_config(path)
    changes = {'dtype': dtype, 'param_dtype': param_dtype}
    config = config.replace(**{name: value for name, value in changes.items() if value})
    return config, load_params(path / 'params', config, mesh)


def load_params(path: str | os.PathLike, config: Config, mesh: jax.sharding.Mesh | None = None) -> nnx.State:
    """Reads the Orbax tree `path` as the state of a policy of these sizes.

    Raises:
      FileNotFoundError: no such tree. ValueError: a weight of another name or shape.
    """
    path = pathlib.Path(path).absolute()
    if not path.is_dir():
        raise FileNotFoundError(f'{path} does not exist; give a complete policy checkpoint.')
    state = nnx.state(abstract_model(config))
    if mesh is None:
        device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        placed = jax.tree.map(lambda _: device, state)
    else:
        placed = sharding.shardings(state, mesh)
    wanted = jax.tree.map(lambda a, place: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=place), state, placed)
    wanted = nnx.to_pure_dict(wanted)
    with ocp.StandardCheckpointer() as checkpointer:
        _check(path, checkpointer.metadata(path).item_metadata.tree, wanted)
        restored = checkpointer.restore(path, wanted)
    nnx.replace_by_pure_dict(state, restored)
    return state


def load_config(path: str | os.PathLike) -> Config:
    """The config of a policy checkpoint.

    Raises:
      FileNotFoundError: no config.json. ValueError: not a config of ours.
    """
    file = pathlib.Path(path) / 'config.json'
    if not file.is_file():
        raise FileNotFoundError(f'{path} holds no complete policy checkpoint (config.json is missing); run convert import.')
    try:
        values = json.loads(file.read_text())
    except ValueError as error:
        raise ValueError(f'{file} is not valid JSON ({error}).') from None
    if not isinstance(values, dict):
        raise ValueError(f'{file} holds a {type(values).__name__} instead of an object; copy the config.json of the policy again.')
    own = values.get('recoder_jax', {})
    return Config.from_hf(values).replace(**{name: own[name] for name in _RUNTIME if name in own})


def write_config(path: str | os.PathLike, config: Config) -> None:
    """Writes config.json at once or not at all."""
    values = dataclasses.asdict(config)
    content = {**config.to_hf(), 'recoder_jax': {name: values[name] for name in _RUNTIME}}
    partial = pathlib.Path(path) / 'config.json.partial'
    partial.write_text(json.dumps(content, indent=2) + '\n')
    partial.rename(pathlib.Path(path) / 'config.json')


def _check(path: pathlib.Path, found, wanted) -> None:
    """Raises ValueError that names the first weight that is missing, extra or misshaped."""
    found = {jax.tree_util.keystr(key): leaf.shape for key, leaf in jax.tree_util.tree_leaves_with_path(found)}
    wanted = {jax.tree_util.keystr(key): leaf.shape for key, leaf in jax.tree_util.tree_leaves_with_path(wanted)}
    wrong = [key for key in {**wanted, **found} if tuple(found.get(key, ())) != tuple(wanted.get(key, ()))]
    if found.keys() != wanted.keys() or wrong:
        key = wrong[0]
        raise ValueError(
            f'{path}: weight {key} has shape {found.get(key, "missing")}, '
            f'the config asks for {wanted.get(key, "no such weight")}; use the config it was trained with.'
        )
