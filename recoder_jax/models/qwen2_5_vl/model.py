"""The policy: Qwen2.5-VL as a Flax NNX module. Its methods are meant to run under `jax.jit` over the split state:

    config = preset('tiny', vocab=1024, image_id=5)
    graphdef, state = nnx.split(create(config, seed=0))

    @jax.jit
    def logits(state, vision, tokens, image_slot, positions, segment, prefix):
        model = nnx.merge(graphdef, state)
        features = model.encode_images(vision).reshape(-1, config.text.hidden)
        x = model.embed(tokens, features, image_slot)
        return model.logits(model.hidden(x, positions, segment, prefix))

Axes: B rows, S tokens, Q new tokens, N image features, I images, M merged tokens, L layers, D width,
K key/value heads, H head size, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx

from recoder_jax import sharding
from recoder_jax.models.qwen2_5_vl.config import Config
from recoder_jax.models.qwen2_5_vl.past import Past
from recoder_jax.models.qwen2_5_vl.text import Decoder
from recoder_jax.models.qwen2_5_vl.vision import VisionTower
from recoder_jax.models.qwen2_5_vl.windows import VisionInputs
from recoder_jax.models.weights import Scope


class Qwen2_5_VL(nnx.Module):
    """Vision tower and decoder."""

    def __init__(self, config: Config, rngs: nnx.Rngs | None):
        scope = Scope(rngs, jnp.dtype(config.param_dtype))
        self.config = config
        self.vision = VisionTower(scope.child('visual.'), config)
        self.text = Decoder(scope, config)

    def encode_images(self, vision: VisionInputs) -> jax.Array:
        """Features [I, M, D] of a batch of images; those beyond an image's own tokens are meaningless."""
        return self.vision(vision)

    def embed(self, tokens: jax.Array, features: jax.Array, image_slot: jax.Array) -> jax.Array:
        """Embeds tokens [B, S] int32 -> [B, S, D].

        Args:
          tokens: ids; those of image tokens are not looked at.
          features: [N, D], rows of `encode_images` flattened to I * M.
          image_slot: int32 [B, S], row of `features` for an image token, -1 for text.

        `tokens` may have any number of leading axes, as long as `image_slot` has the same.
        """
        return self.text.embed(tokens, features, image_slot)

    def hidden(self, x: jax.Array, positions: jax.Array, segment: jax.Array, prefix: jax.Array) -> jax.Array:
        """Whole packed rows, as in training: [B, S, D] -> [B, S, D] after the final norm.

        Token i sees token j of its row iff j <= i and j is of the segment of i or of the segment that i continues:

            segment  1 1 1 2 2 3 3 0        three tokens of prefix, two suffixes of two tokens, one of padding
            prefix   0 0 0 1 1 1 1 0

        Args:
          x: from `embed`.
          positions: int32 [3, B, S], from `mrope_positions`.
          segment: int32 [B, S], 0 is padding.
          prefix: int32 [B, S], 0 for none.
        """
        return self.text.hidden(x, positions, segment, prefix)

    def extend(
        self, x: jax.Array, positions: jax.Array, past: Past, valid: jax.Array, view: Callable[[Past], Past] = lambda past: past,
        only: jax.Array | None = None,
    ) -> tuple[jax.Array, jax.Array, jax.Array]:  # fmt: skip
        """New tokens after a cache, as in sampling: prefill (P = S = 0), appended feedback, one decoded token (Q = 1).

        A new token sees the valid prefix and suffix of its row, and the valid new tokens up to itself.

        Args:
          x: [B, Q, D].
          positions: int32 [3, B, Q].
          past: the cache; it is not changed.
          valid: bool [B, Q], False for padding among the new tokens.
          view: what of one layer of the past the tokens see, in the layer loop so that no whole cache is copied: some of its rows, or
            its first slots.
          only: int32 [B], number of the one new token of each row whose state is asked for; None for all.

        Returns:
          [B, Q, D] after the final norm, or [B, 1, D] of `only`, and the keys and values [L, B, K, Q, H] that the caller writes to its cache.
        """
        return self.text.extend(x, positions, past, valid, view, only)

    def logits(self, x: jax.Array) -> jax.Array:
        """Logits [..., V] in float32 of hidden states [..., D]."""
        return self.text.logits(x)


def create(config: Config, seed: int = 0, mesh: jax.sharding.Mesh | None = None) -> Qwen2_5_VL:
    """A policy with random weights; with `mesh`, created sharded. Equal values for every mesh.

    The random numbers are those of the 'rbg' generator: threefry costs a CPU some 0.7 s of compilation per weight.
    """
    graphdef, abstract = nnx.split(abstract_model(config))
    placed = None if mesh is None else sharding.shardings(abstract, mesh)
    initial = jax.jit(_initial_state, static_argnums=0, out_shardings=placed)
    return nnx.merge(graphdef, initial(config, jax.random.key(seed, impl='rbg')))


def _initial_state(config: Config, key: jax.Array) -> nnx.State:
    return nnx.state(Qwen2_5_VL(config, nnx.Rngs(key)))


def abstract_model(config: Config) -> Qwen2_5_VL:
    """The policy with `jax.ShapeDtypeStruct` in place of every array; costs no memory."""
    return nnx.eval_shape(lambda: Qwen2_5_VL(config, None))
