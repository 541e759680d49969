"""Models that describe a picture by a unit vector, so that the product of two is the cosine of what they show.

    views uint8 [V, S, S, 3] ──► calls of at most `batch` views ──► normalised ──► model.signature, view by view ──► float32 [V, D]

A call has one shape, whatever the number of its views: the loop on the device runs over those that are there. Each view is computed
alone, so its vector has the same bits whatever else is asked for, and a run is reproducible although threads decide what is asked together.
A view of 448 pixels is a product of 1025 rows for DINOv2, enough to fill a chip; it is little for ResNet-18.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import pathlib
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from recoder_jax.models import resnet, weights
from recoder_jax.models.dinov2 import config as dinov2
from recoder_jax.models.dinov2.model import Dinov2
from recoder_jax.models.huggingface import StoredTensors

MODELS = (*dinov2.PRESETS, 'resnet18')
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, which both families were trained with
_UNREAD = ('embeddings.mask_token', 'fc.weight', 'fc.bias')

Config = dinov2.Config | resnet.Config


def config_of(model: str, dtype: str = 'float32') -> Config:
    """The sizes of one of MODELS."""
    if model == 'resnet18':
        return resnet.Config(dtype=dtype)
    if model not in dinov2.PRESETS:
        raise ValueError(f'the model is {model!r}; choose one of {", ".join(MODELS)}')
    sizes = dinov2.PRESETS[model]
    return dataclasses.replace(sizes, dtype=dtype)


def create(config: Config, seed: int) -> nnx.Module:
    """A model with random weights. They say nothing of pictures: for tests and for measuring time, never for a reward."""
    graphdef = nnx.graphdef(abstract(config))
    return nnx.merge(graphdef, _initial(config, jax.random.key(seed, impl='rbg')))


@functools.partial(jax.jit, static_argnums=0)
def _initial(config: Config, key: jax.Array) -> nnx.State:
    return nnx.state(_built(config, nnx.Rngs(key)))


def abstract(config: Config) -> nnx.Module:
    """The model with shapes in place of arrays."""
    return nnx.eval_shape(lambda: _built(config, nnx.Rngs(0)))


def _built(config: Config, rngs: nnx.Rngs) -> nnx.Module:
    kind = Dinov2 if isinstance(config, dinov2.Config) else resnet.ResNet
    return kind(weights.Scope(rngs, config.jax_dtype), config)


def read(directory: str | pathlib.Path, model: str, dtype: str = 'float32') -> tuple[Config, nnx.State]:
    """Sizes and weights, on the host, of a directory with safetensors: Hugging Face's DINOv2, or ResNet-18 under torchvision's names.

    Raises:
      FileNotFoundError: no such directory, or no weights in it.
      ValueError: sizes of another model, or a missing, extra or misshaped tensor, by name.
    """
    directory = pathlib.Path(directory)
    if not directory.is_dir():
        raise FileNotFoundError(f'there are no weights of {model} in {str(directory)!r}; download the pretrained model and name its directory')
    config = config_of(model, dtype)
    if model != 'resnet18':
        found = dinov2.from_hf(_json(directory / 'config.json'), dtype)
        if found != config:
            raise ValueError(f'{directory} holds a DINOv2 of width {found.width} and depth {found.depth}, {model} has {config.width} and '
                             f'{config.depth}; change one')
    return config, read_rows(directory, config)


def read_rows(directory: pathlib.Path, config: Config) -> nnx.State:
    """The weights of these sizes in the safetensors of a directory, in the dtype of the config; errors as `read`."""
    state, stored = nnx.state(abstract(config)), StoredTensors(directory)
    expected = {name: row for _, row in weights.rows(state) for name in row.names}
    missing = sorted(set(expected) - set(stored))
    extra = sorted(name for name in set(stored) - set(expected) if name not in _UNREAD and not name.endswith('.num_batches_tracked'))
    if missing:
        raise ValueError(f'{directory} lacks {len(missing)} tensors, first {missing[0]}; download the model again')
    if extra:
        raise ValueError(f'{directory} holds {len(extra)} tensors that are not of the model, first {extra[0]}; take the plain model')
    for name, row in expected.items():
        if stored[name].shape != row.stored_shape:
            raise ValueError(f'{directory}: {name} has shape {stored[name].shape}, the model asks for {row.stored_shape}; take the plain model')
    return jax.tree.unflatten(jax.tree.structure(state), [_read(stored, row, config) for _, row in weights.rows(state)])


def _read(stored: StoredTensors, row: weights.Row, config: Config) -> np.ndarray:
    layers = [weights.from_stored(row, stored[name][:]).astype(config.jax_dtype) for name in row.names]
    return layers[0] if row.layers is None else np.stack(layers)


def _json(path: pathlib.Path) -> dict:
    if not path.is_file():
        raise FileNotFoundError(f'{path} does not exist; give a directory with a Hugging Face checkpoint')
    try:
        values = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f'{path} is not valid JSON ({error}); download it again') from None
    if not isinstance(values, dict):
        raise ValueError(f'{path} is not a JSON object; download it again')
    return values


def flops(config: Config, side: int) -> float:
    """Of the products of one view: two for each weight of a product and place it is used at, and DINOv2's attention."""
    if isinstance(config, dinov2.Config):
        tokens, d = 1 + (side // config.patch) ** 2, config.width
        block = 2 * tokens * (4 * d * d + 2 * d * config.hidden) + 4 * tokens * tokens * d
        return float(config.depth * block + 2 * (tokens - 1) * 3 * config.patch**2 * d)
    into, total = config.channels[0], 2.0 * (side / 2) ** 2 * 3 * 49 * config.channels[0]
    for stage, out in enumerate(config.channels):
        places = (side / 4 / 2**stage) ** 2
        total += 2 * places * (9 * into * out + 27 * out * out + (into * out if stage else 0))
        into = out
    return total


@functools.partial(jax.jit, static_argnames='graphdef')
def signatures(state: nnx.State, views: jax.Array, count: jax.Array, graphdef: nnx.GraphDef) -> jax.Array:
    """Unit vectors float32 [B, D] of uint8 views [B, S, S, 3], of which the first `count` are looked at; zeros for the others."""
    model = nnx.merge(graphdef, state)

    def one(view: jax.Array) -> jax.Array:
        return model.signature((view.astype(jnp.float32) / 255 - jnp.array(MEAN)) / jnp.array(STD))

    width = jax.eval_shape(one, views[0]).shape[0]
    found = jnp.zeros((views.shape[0], width), jnp.float32)
    return jax.lax.fori_loop(0, count, lambda i, found: found.at[i].set(one(views[i])), found)


class Observer:
    """Looks at views with one copy of the weights a device; calls go round the devices. Safe from any thread."""

    def __init__(self, config: Config, state: nnx.State, batch: int, devices: Sequence[jax.Device]):
        self._graphdef, self._batch, self._devices = nnx.graphdef(abstract(config)), batch, list(devices)
        self._states = [jax.device_put(state, device) for device in devices]

    def __call__(self, views: np.ndarray) -> np.ndarray:
        """uint8 [V, S, S, 3] -> float32 [V, D]."""
        found = []
        for number, start in enumerate(range(0, len(views), self._batch)):
            part = views[start:start + self._batch]
            padded = np.zeros((self._batch, *views.shape[1:]), np.uint8)
            padded[:len(part)] = part
            place = number % len(self._devices)
            given = jax.device_put((padded, np.int32(len(part))), self._devices[place])
            found.append((signatures(self._states[place], *given, graphdef=self._graphdef), len(part)))
        return np.concatenate([jax.device_get(vectors)[:count] for vectors, count in found])
