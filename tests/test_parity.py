"""On random weights the policy computes what transformers' Qwen2.5-VL computes: positions, features, states, logits, gradients.

Every shape stresses other rules; all are compared in float32 with one bound, and two in bfloat16 with the noise of transformers.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import tempfile
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from recoder_jax.models.qwen2_5_vl.config import Config
from recoder_jax.models.qwen2_5_vl.model import abstract_model
from recoder_jax.models.qwen2_5_vl.past import empty_past
from recoder_jax.models.qwen2_5_vl.positions import mrope_positions
from recoder_jax.models.qwen2_5_vl.windows import merged_tokens, vision_inputs, windows_needed
from tests.parity import (
    batch_rows, imported, jitted, our_logits, quick_jit, random_dialogue, random_image, small_config, stored, torch_features,
    torch_gradients, torch_inputs, torch_logits, torch_model, torch_states,
)  # fmt: skip

torch = pytest.importorskip('torch')
pytest.importorskip('transformers')

BOUND = 1e-4  # largest float32 error of a logit, a state or a feature
NOISE = 1.15  # largest mean error in bfloat16, of that of transformers in bfloat16, which adds biases before it rounds


class Shape(NamedTuple):
    """Sizes, the dialogues of a batch (lengths of the pieces of text, grids of the images between them), the spread of weights."""

    config: Config
    dialogues: tuple[tuple[tuple[int, ...], tuple[tuple[int, int], ...]], ...]
    spread: float = 0.1


SHAPES = {
    # Text before, between and after images: edges inside windows on both sides, whole windows, one row of windows.
    'untied': Shape(
        small_config(),
        (((4, 5, 6), ((10, 14), (8, 16))), ((4, 5), ((4, 18),))),
    ),
    # One key head for all queries. Four images with hardly any text, the smallest and a single window among them; a row without
    # images; a row that ends with an image.
    'tied': Shape(
        small_config(vision=dict(full_attention=(0, 2, 3)), text=dict(heads=4, kv_heads=1, mrope_section=(1, 2, 3), tied=True)),
        (((0, 0, 3, 0, 2), ((2, 2), (16, 8), (6, 22), (8, 8))), ((9,), ()), ((3, 0), ((18, 10),))),
    ),
    # A key head per query head; no block of the tower attends across windows. Strips, and windows whole on one side only.
    'no_full_block': Shape(
        small_config(vision=dict(full_attention=()), text=dict(heads=3, kv_heads=3, mrope_section=(2, 3, 3))),
        (((5, 1, 1, 7), ((34, 2), (2, 34), (16, 16))), ((1, 1), ((16, 6),))),
    ),
    # Heads of 128 and 80 with the sections of the published models, and positions near 100.
    'published_heads': Shape(
        small_config(
            vision=dict(depth=2, hidden=160, intermediate=70, output=256, full_attention=(1,)),
            text=dict(hidden=256, heads=2, kv_heads=1, layers=2, mrope_section=(16, 24, 24), tied=True),
        ),
        (((60, 20), ((22, 30),)), ((2, 30, 3), ((6, 8), (24, 8)))),
        spread=0.04,
    ),
}
every_shape = pytest.mark.parametrize('name', SHAPES)


class Case(NamedTuple):
    """A shape with weights: a transformers model, the same weights imported, dialogues, the images of each, and their batch."""

    config: Config
    model: torch.nn.Module
    state: nnx.State
    ids: list[np.ndarray]
    images: list[list]
    rows: tuple


@functools.cache
def case(name: str) -> Case:
    config, shapes, spread = SHAPES[name]
    rng = np.random.default_rng(0)
    images = [[random_image(rng, grid) for grid in grids] for _, grids in shapes]
    ids = [random_dialogue(rng, config, own, text) for own, (text, _) in zip(images, shapes, strict=True)]
    model = torch_model(config, spread=spread)
    with tempfile.TemporaryDirectory() as directory:
        state = imported(model, directory)
    return Case(config, model, state, ids, images, batch_rows(config, ids, images, max(len(one) for one in ids) + 3))


@functools.cache
def compiled_depths(config: Config):
    """Features [I, M, D] after the first `blocks` blocks, states [B, S, D] after the first `layers` layers and before the norm.

    A block whose weights are all zero adds nothing to what it is given. The final norm leaves its input as it is when its
    epsilon is 2^40 and its scale 2^20: the mean of squares vanishes beside that epsilon.
    """
    model = abstract_model(config)
    model.text.config = config.replace(text=dataclasses.replace(config.text, eps=2.0**40))
    graphdef = nnx.graphdef(model)

    @quick_jit
    def run(state, blocks, layers, vision, tokens, slots, positions, segment):
        model = nnx.merge(graphdef, state)
        model.text.norm[...] = jnp.full_like(model.text.norm[...], 2.0**20)
        for stack, kept in ((model.vision.blocks, blocks), (model.text.blocks, layers)):
            cut = jax.vmap(lambda i, a: jnp.where(i < kept, a, 0))  # noqa: B023 called at once
            nnx.update(stack, jax.tree.map(lambda a: cut(jnp.arange(len(a)), a), nnx.state(stack)))  # noqa: B023
        features = model.encode_images(vision)
        x = model.embed(tokens, features.reshape(-1, config.text.hidden), slots)
        return features, model.hidden(x, positions, segment, jnp.zeros_like(segment))

    return run


def own_features(features, images) -> np.ndarray:
    """The features of the images' own tokens, one after the other."""
    return np.concatenate([np.asarray(one)[: merged_tokens(image.grid)] for one, image in zip(features, images, strict=False)])


def largest_error(what: str, ours, theirs) -> float:
    error = float(np.abs(np.asarray(ours) - np.asarray(theirs)).max())
    print(f'{what}: largest value {np.abs(theirs).max():.2f}, largest error {error:.1e}')
    return error


@every_shape
@pytest.mark.parametrize('side', ['left', 'right'])
def test_positions_of_a_padded_batch_equal_transformers(name, side):
    config, model, _, ids, images, _ = case(name)
    inputs = torch_inputs(config, ids, images, side)
    names = ('input_ids', 'mm_token_type_ids', 'image_grid_thw', 'attention_mask')
    theirs, deltas = model.model.get_rope_index(**{name: inputs[name] for name in names})
    for row, (one, own) in enumerate(zip(ids, images, strict=True)):
        ours, following = mrope_positions(one, [image.grid for image in own], config.image_id)
        np.testing.assert_array_equal(ours, theirs[:, row, inputs['attention_mask'][row].bool()])
        assert following == len(one) + deltas[row]


@every_shape
def test_vision_features_after_every_block_equal_transformers(name):
    """The patch embedding and every block's output, each through the merger; all images of the batch at once."""
    config, model, state, _, images, rows = case(name)
    images = sum(images, [])
    for blocks, theirs in enumerate(torch_features(model, config, images)):
        features, _ = compiled_depths(config)(state, blocks, 0, *rows)
        assert largest_error(f'features after block {blocks}', own_features(features, images), theirs) < BOUND
    assert blocks == config.vision.depth


@every_shape
def test_hidden_states_after_every_layer_equal_transformers(name):
    """The embeddings with the images in them and every layer's output, before the final norm."""
    config, model, state, ids, images, rows = case(name)
    theirs = [torch_states(model, config, one, own) for one, own in zip(ids, images, strict=True)]
    for layers in range(config.text.layers + 1):
        _, ours = compiled_depths(config)(state, config.vision.depth, layers, *rows)
        for row, one in enumerate(ids):
            assert largest_error(f'row {row} after layer {layers}', ours[row, : len(one)], theirs[row][layers]) < BOUND


@pytest.mark.parametrize('name, backend', [*[(name, 'auto') for name in SHAPES], ('published_heads', 'splash_interpret')])
def test_logits_equal_transformers(name, backend):
    """A batch of unequal dialogues, padded on the right, against every dialogue alone; once with the kernel for TPUs, interpreted."""
    config, model, state, ids, images, rows = case(name)
    ours = our_logits(config.replace(attention=backend), state, *rows)
    for row, (one, own) in enumerate(zip(ids, images, strict=True)):
        theirs = torch_logits(model, config, one, own)
        assert largest_error(f'logits of row {row}', ours[row, : len(one)], theirs) < BOUND


def padded(array: np.ndarray, segment: np.ndarray, side: str) -> np.ndarray:
    """Rows [..., B, S], padded on the right, with their padding on `side`."""
    by = (segment == 0).sum(axis=1) if side == 'left' else np.zeros(len(segment), int)
    moved = [np.roll(array[..., row, :], int(shift), axis=-1) for row, shift in enumerate(by)]
    return np.stack(moved, axis=-2)


@pytest.mark.parametrize('name', ['untied', 'tied'])
def test_logits_of_padded_batches_equal_transformers(name):
    """transformers pads on the left or on the right; so does prefill, by its `valid`; packed rows are filled from the left."""
    config, model, state, ids, images, rows = case(name)
    vision, tokens, slots, positions, segment = rows
    encode, embed, extend, head = (jitted(config, method) for method in ('encode_images', 'embed', 'extend', 'logits'))
    features = encode(state, vision).reshape(-1, config.text.hidden)
    packed = np.asarray(our_logits(config, state, *rows))
    t = config.text
    past = empty_past(t.layers, len(ids), t.kv_heads, t.head_dim, jnp.float32)
    for side in ('left', 'right'):
        with torch.no_grad():
            inputs = torch_inputs(config, ids, images, side)
            theirs = model(**inputs).logits.numpy()
        new, where, at, valid = (padded(array, segment, side) for array in (tokens, slots, positions, segment > 0))
        x, _, _ = extend(state, embed(state, new, features, where), at, past, valid)
        prefill = np.asarray(head(state, x))
        for row, one in enumerate(ids):
            own = theirs[row, inputs['attention_mask'][row].bool()]
            assert largest_error(f'{side}, row {row}, packed', packed[row, : len(one)], own) < BOUND
            assert largest_error(f'{side}, row {row}, prefill', prefill[row][valid[row]], own) < BOUND


def test_the_empty_windows_of_transformers_change_no_feature(monkeypatch):
    """transformers pads a grid that fills its windows by one more window a side, and then drops what is empty; ours has none."""
    config, model, state, *_ = case('untied')
    rng = np.random.default_rng(1)
    windows = {(8, 8): (4, 1), (16, 6): (3, 2), (6, 16): (3, 2), (16, 24): (12, 6), (10, 14): (4, 3)}  # theirs before that, and places of ours
    images = [random_image(rng, grid) for grid in windows]
    ours = jitted(config, 'encode_images')(state, vision_inputs(images, len(images), 6, 96))
    drop, before = torch.unique_consecutive, []
    monkeypatch.setattr(torch, 'unique_consecutive', lambda bounds: (before.append(len(bounds) - 1), drop(bounds))[1])
    for image, features in zip(images, ours, strict=True):
        theirs = torch_features(model, config, [image])[-1]
        assert largest_error(f'features of {image.grid}', features[: merged_tokens(image.grid)], theirs) < BOUND
        assert (before[-1], windows_needed(image.grid)) == windows[image.grid]


def loss_of(config: Config, state, rows, factors) -> jax.Array:
    """Minus the sum of `factors` [B, S - 1] times the log probability of the next token."""
    model = nnx.merge(nnx.graphdef(abstract_model(config)), state)
    vision, tokens, slots, positions, segment = rows
    x = model.embed(tokens, model.encode_images(vision).reshape(-1, config.text.hidden), slots)
    logp = jax.nn.log_softmax(model.logits(model.hidden(x, positions, segment, jnp.zeros_like(segment))))
    return -(factors * jnp.take_along_axis(logp[:, :-1], tokens[:, 1:, None], axis=-1)[..., 0]).sum()


@pytest.mark.parametrize(
    'name, how',
    [
        ('untied', dict(remat='blocks', unroll=2)),
        ('tied', dict()),
        ('published_heads', dict(remat='attention')),
    ],
    ids=['untied, blocks recomputed, loop unrolled', 'tied', 'published_heads, attention kept'],
)
def test_gradient_of_every_weight_equals_torch_autograd(name, how):
    """A loss with a factor of either sign on every token, over a padded batch; errors relative to a weight's largest gradient."""
    config, model, state, ids, images, rows = case(name)
    factors = np.random.default_rng(2).normal(size=(len(ids), rows[1].shape[1] - 1)).astype(np.float32)
    for row, one in enumerate(ids):
        factors[row, len(one) - 1 :] = 0
    factors /= sum(len(one) for one in ids)
    ours = stored(quick_jit(functools.partial(jax.grad(loss_of, argnums=1), config.replace(**how)))(state, rows, factors))

    model.zero_grad()
    for row, (one, own) in enumerate(zip(ids, images, strict=True)):
        inputs = torch_inputs(config, [one], [own])
        logp = model(**inputs).logits[0, :-1].log_softmax(-1)
        chosen = logp.gather(1, inputs['input_ids'][0, 1:, None])[:, 0]
        (-torch.tensor(factors[row, : len(one) - 1]) * chosen).sum().backward()
    theirs = torch_gradients(model)
    assert ours.keys() == theirs.keys()
    assert min(np.abs(gradient).max() for gradient in theirs.values()) > 0
    errors = {key: np.abs(ours[key] - theirs[key]).max() / np.abs(theirs[key]).max() for key in theirs}
    worst = max(errors, key=errors.get)
    print(f'{len(errors)} weights, largest relative error {errors[worst]:.1e} ({worst})')
    assert errors[worst] < BOUND


@pytest.mark.parametrize('name', ['untied', 'published_heads'])
def test_bfloat16_stays_within_the_noise_of_transformers_in_bfloat16(name):
    """Distances from transformers in float32, averaged over the features and over the logits of a batch: ours and its own."""
    config, model, state, ids, images, rows = case(name)
    half = copy.deepcopy(model)
    for parameter in half.parameters():  # not the rotary frequencies: loaded in bfloat16, transformers keeps them in float32
        parameter.data = parameter.data.bfloat16()
    narrow, pictures = config.replace(dtype='bfloat16'), sum(images, [])
    features = own_features(jitted(narrow, 'encode_images')(state, rows[0]), pictures)
    logits = np.asarray(our_logits(narrow, state, *rows))
    exact, rounded = ([torch_logits(one, config, *row) for row in zip(ids, images, strict=True)] for one in (model, half))
    ours = [logits[row, : len(one)] for row, one in enumerate(ids)]
    for what, ours, theirs, exact in (
        ('features', features, torch_features(half, config, pictures)[-1], torch_features(model, config, pictures)[-1]),
        ('logits', *map(np.concatenate, (ours, rounded, exact))),
    ):
        own, noise = (np.abs(a.astype(np.float32) - exact) for a in (ours, theirs))
        print(f'{what}: mean error {own.mean():.5f}, of transformers {noise.mean():.5f}; largest {own.max():.4f}, {noise.max():.4f}')
        assert own.mean() < NOISE * noise.mean()
