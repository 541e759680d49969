"""Policies of a few thousand weights, dialogues for them, and what transformers computes from both.

The tests of the policy, of its parity with transformers and of its sharding share this. torch and transformers are imported
where they are used, so what needs neither runs without them.

Axes: S tokens of a dialogue, D width, V vocabulary, M merged tokens, L layers, B rows.
"""

from __future__ import annotations

import dataclasses
import functools
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from recoder_jax.models import huggingface, weights
from recoder_jax.models.qwen2_5_vl.config import Config, TextConfig, VisionConfig
from recoder_jax.models.qwen2_5_vl.model import abstract_model
from recoder_jax.models.qwen2_5_vl.positions import mrope_positions
from recoder_jax.models.qwen2_5_vl.windows import merged_tokens, vision_inputs, windows_needed


def small_config(vision: dict | None = None, text: dict | None = None) -> Config:
    """A policy of some 60 k weights with every rule of the large ones: GQA, window and full blocks, untied head.

    `vision` and `text` replace sizes of the tower and of the decoder.
    """
    tower = VisionConfig(depth=4, hidden=32, heads=2, intermediate=40, output=48, full_attention=(1, 3))
    decoder = TextConfig(
        vocab=96, hidden=48, layers=3, heads=6, kv_heads=2, intermediate=64, mrope_section=(1, 1, 2), max_positions=4096
    )
    return Config(
        dataclasses.replace(tower, **(vision or {})), dataclasses.replace(decoder, **(text or {})),
        image_id=5, video_id=6, vision_start_id=3, vision_end_id=4, end_id=2, pad_id=0,
        dtype='float32', param_dtype='float32',
    )  # fmt: skip


def random_weights(config: Config, seed: int = 0) -> nnx.State:
    """Random weights: none is 0, and the scale of a norm, the one weight that is a vector and no bias, lies around 1."""
    rng = np.random.default_rng(seed)
    state = nnx.state(abstract_model(config))
    scales = [len(row.shape) == 1 and row.name.endswith('.weight') for _, row in weights.rows(state)]
    values = [scale + 0.1 * rng.normal(size=leaf.shape) for scale, leaf in zip(scales, jax.tree.leaves(state), strict=True)]
    return jax.tree.unflatten(jax.tree.structure(state), [jnp.asarray(value, jnp.float32) for value in values])


def random_image(rng: np.random.Generator, grid: tuple[int, int]) -> SimpleNamespace:
    values = rng.normal(size=(grid[0] * grid[1], 1176)).astype(np.float32)
    return SimpleNamespace(values=values, grid=grid)


def random_dialogue(rng: np.random.Generator, config: Config, images, text=(4, 5, 6)) -> np.ndarray:
    """Text, image, text, image, ..., text; the pieces of text have the lengths `text`."""
    pieces = [rng.integers(7, config.text.vocab, text[0])]
    for image, length in zip(images, text[1:], strict=True):
        body = [config.image_id] * merged_tokens(image.grid)
        pieces += [[config.vision_start_id], body, [config.vision_end_id], rng.integers(7, config.text.vocab, length)]
    return np.concatenate(pieces).astype(np.int32)


def dialogues(config: Config, seed: int = 0):
    """Two rows: two images (one with partial windows at both edges, one of whole windows), and one image with less text."""
    rng = np.random.default_rng(seed)
    images = [[random_image(rng, (10, 14)), random_image(rng, (8, 16))], [random_image(rng, (4, 18))]]
    return [random_dialogue(rng, config, own, (4, 5, 6)[: len(own) + 1]) for own in images], images


def batch_rows(config: Config, dialogues, images_of_rows, length: int):
    """Arrays of `embed` and `hidden` for dialogues, one a row, padded on the right to `length`; one place for an image stays empty."""
    images = [image for row in images_of_rows for image in row]
    windows = max([8, *[windows_needed(image.grid) for image in images]])
    merged = max([40, *[merged_tokens(image.grid) for image in images]])
    vision = vision_inputs(images, len(images) + 1, windows, merged)
    tokens = np.zeros((len(dialogues), length), np.int32)
    slots = np.full_like(tokens, -1)
    positions = np.zeros((3, *tokens.shape), np.int32)
    segment = np.zeros_like(tokens)
    first = 0
    for row, (ids, own) in enumerate(zip(dialogues, images_of_rows, strict=True)):
        n = len(ids)
        tokens[row, :n], segment[row, :n] = ids, 1
        positions[:, row, :n], _ = mrope_positions(ids, [image.grid for image in own], config.image_id)
        own_slots = [np.arange(merged_tokens(image.grid)) + (first + i) * merged for i, image in enumerate(own)]
        slots[row, np.flatnonzero(ids == config.image_id)] = np.concatenate([[], *own_slots])
        first += len(own)
    return vision, tokens, slots, positions, segment


def our_logits(config: Config, state, vision, tokens, slots, positions, segment, prefix=None) -> jax.Array:
    """Logits [B, S, V] of packed rows."""
    prefix = np.zeros_like(segment) if prefix is None else prefix
    return _compiled_logits(config)(state, vision, tokens, slots, positions, segment, prefix)


@functools.cache
def _compiled_logits(config: Config):
    graphdef = nnx.graphdef(abstract_model(config))

    @jax.jit
    def run(state, vision, tokens, slots, positions, segment, prefix):
        model = nnx.merge(graphdef, state)
        features = model.encode_images(vision).reshape(-1, config.text.hidden)
        x = model.embed(tokens, features, slots)
        return model.logits(model.hidden(x, positions, segment, prefix))

    return run


def quick_jit(function):
    """`jax.jit` without the optimisation of machine code, which takes half of the compilation and changes no operation."""
    return jax.jit(function, compiler_options={'xla_backend_optimization_level': 0})


def jitted(config: Config, method: str):
    """`method` of the policy as a jitted function of (state, *arguments)."""
    graphdef = nnx.graphdef(abstract_model(config))
    return quick_jit(lambda state, *arguments: getattr(nnx.merge(graphdef, state), method)(*arguments))


def torch_model(config: Config, seed: int = 0, spread: float = 0.1):
    """A transformers model of these sizes with random weights; norms and biases too are moved off 1 and 0.

    Queries and keys of the decoder spread more: with scores near zero attention is a mean, and positions hardly matter.
    """
    import torch
    import transformers

    torch.manual_seed(seed)
    hf = transformers.Qwen2_5_VLConfig(**{k: v for k, v in config.to_hf().items() if k != 'architectures'})
    hf._attn_implementation = 'eager'
    model = transformers.Qwen2_5_VLForConditionalGeneration(hf).float().eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            scores = 'q_proj' in name or 'k_proj' in name
            parameter.add_((3 if scores else 1) * spread * torch.randn_like(parameter))
    return model


def torch_inputs(config: Config, dialogues, images_of_rows, side: str = 'right') -> dict:
    """What transformers takes for a batch of dialogues, padded on `side` to the longest.

    Without `mm_token_type_ids` transformers would give image tokens the positions of text.
    """
    import torch

    length = max(len(ids) for ids in dialogues)
    tokens = np.full((len(dialogues), length), config.pad_id, np.int64)
    mask = np.zeros_like(tokens)
    for row, ids in enumerate(dialogues):
        place = slice(0, len(ids)) if side == 'right' else slice(length - len(ids), length)
        tokens[row, place], mask[row, place] = ids, 1
    out = dict(input_ids=torch.tensor(tokens), attention_mask=torch.tensor(mask))
    out['mm_token_type_ids'] = (out['input_ids'] == config.image_id).int()
    images = [image for own in images_of_rows for image in own]
    if images:
        out['pixel_values'] = torch.tensor(np.concatenate([image.values for image in images]))
        out['image_grid_thw'] = torch.tensor([[1, *image.grid] for image in images])
    return out


def torch_logits(model, config: Config, dialogue: np.ndarray, images) -> np.ndarray:
    """Logits [S, V] of one unpadded dialogue, in float32 whatever the dtype of `model`."""
    import torch

    with torch.no_grad():
        return model(**torch_inputs(config, [dialogue], [images])).logits[0].float().numpy()


def torch_states(model, config: Config, dialogue: np.ndarray, images) -> list[np.ndarray]:
    """The embeddings with the images in them and the output of every decoder layer, L + 1 arrays [S, D]."""
    return [x[0] for x in _outputs_of(model.model.language_model.layers, lambda: torch_logits(model, config, dialogue, images))]


def torch_features(model, config: Config, images) -> list[np.ndarray]:
    """Features [M of all images, D] that the merger makes of the patch embedding and of the output of every block; the last are those
    that the decoder is given."""
    import torch
    from transformers.vision_utils import get_vision_window_index

    inputs, visual = torch_inputs(config, [np.zeros(1)], [images]), model.model.visual
    thw = inputs['image_grid_thw']
    with torch.no_grad():
        blocks = _outputs_of(visual.blocks, lambda: visual(inputs['pixel_values'].to(visual.dtype), grid_thw=thw))
        index, _ = get_vision_window_index(thw, spatial_merge_size=2, window_size=112, patch_size=14)
        return [visual.merger(torch.tensor(x, dtype=visual.dtype))[torch.argsort(index)].float().numpy() for x in blocks]


def _outputs_of(layers, run) -> list[np.ndarray]:
    """What `run` sends into the first of `layers`, then what each of them returns."""
    seen = []
    hooks = [layers[0].register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0].float().numpy()))]
    hooks += [layer.register_forward_hook(lambda _, arguments, out: seen.append(out.float().numpy())) for layer in layers]
    run()
    for hook in hooks:
        hook.remove()
    return seen


def imported(model, directory) -> nnx.State:
    """The weights of a transformers model, as the import reads them from the files that transformers writes."""
    model.save_pretrained(directory)
    return huggingface.import_policy(directory)[1]


def stored(tree: nnx.State) -> dict[str, np.ndarray]:
    """Weights, or gradients, under the names and in the shapes of the hub."""
    return {
        name: weights.to_stored(row, np.asarray(leaf.get_value() if row.layers is None else leaf.get_value()[layer]))
        for leaf, row in weights.rows(tree)
        for layer, name in enumerate(row.names)
    }


def torch_gradients(model) -> dict[str, np.ndarray]:
    """The gradients of a transformers model under the hub's names."""
    return {huggingface._hub_name(name): parameter.grad.numpy() for name, parameter in model.named_parameters()}
