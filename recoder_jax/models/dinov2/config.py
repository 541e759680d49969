"""Sizes of DINOv2 (arXiv 2304.07193), and the mapping from Hugging Face's config.json."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp


@dataclasses.dataclass(frozen=True)
class Config:
    """Attributes:
      width, heads, depth, hidden: of a block; hidden is the width of its MLP.
      patch: side of a patch in pixels.
      grid: patches along a side of the image the position embeddings are stored for.
      eps: of the layer norms.
      dtype: of weights and activations.
    """

    width: int
    heads: int
    depth: int
    hidden: int
    patch: int = 14
    grid: int = 37
    eps: float = 1e-6
    dtype: str = 'float32'

    @property
    def head_dim(self) -> int:
        return self.width // self.heads

    @property
    def jax_dtype(self) -> jnp.dtype:
        return jnp.dtype(self.dtype)


PRESETS = {
    'dinov2-small': Config(width=384, heads=6, depth=12, hidden=1536),
    'dinov2-base': Config(width=768, heads=12, depth=12, hidden=3072),
    'dinov2-large': Config(width=1024, heads=16, depth=24, hidden=4096),
}


def from_hf(values: dict, dtype: str = 'float32') -> Config:
    """The sizes of a Hugging Face config.

    Raises:
      ValueError: another architecture, one that is not covered, or a missing or unusable size.
    """
    kind = values.get('model_type')
    if kind != 'dinov2':
        raise ValueError(f"config.json has model_type {kind!r}; give a DINOv2 checkpoint, whose type is 'dinov2'.")
    plain = {'use_swiglu_ffn': False, 'qkv_bias': True, 'hidden_act': 'gelu', 'num_channels': 3}
    for key, value in plain.items():
        if values.get(key, value) != value:
            raise ValueError(f'config.json has {key} {values[key]!r}, only {value!r} is covered; take a small, base or large DINOv2.')
    names = ('hidden_size', 'num_attention_heads', 'num_hidden_layers', 'image_size', 'patch_size')
    for name in names:
        if not isinstance(values.get(name), int) or values[name] < 1:
            raise ValueError(f'config.json has {name} {values.get(name)!r}; give a positive whole number.')
    width, heads, depth, image, patch = (values[name] for name in names)
    if width % heads or image % patch:
        raise ValueError(f'config.json has hidden_size {width}, num_attention_heads {heads}, image_size {image}, patch_size {patch}; '
                         'the second must divide the first and the fourth the third.')
    hidden = int(width * values.get('mlp_ratio', 4))
    return Config(width, heads, depth, hidden, patch, image // patch, float(values.get('layer_norm_eps', 1e-6)), dtype)
