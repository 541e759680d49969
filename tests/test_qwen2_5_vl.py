"""The three roads of the policy (packed, cached, separate) agree; configs count and describe what they declare."""

import dataclasses
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from recoder_jax.models import weights
from recoder_jax.models.qwen2_5_vl.config import Config, preset
from recoder_jax.models.qwen2_5_vl.layers import FEW
from recoder_jax.models.qwen2_5_vl.model import Qwen2_5_VL, abstract_model, create
from recoder_jax.models.qwen2_5_vl.past import Past, Sharing, empty_past
from recoder_jax.models.qwen2_5_vl.positions import mrope_positions
from recoder_jax.models.qwen2_5_vl.windows import vision_inputs, windows_needed
from tests.parity import batch_rows, dialogues, jitted, our_logits, quick_jit, random_image, random_weights, small_config


@pytest.fixture(scope='module')
def small():
    """A small policy with random weights."""
    config = small_config()
    return config, random_weights(config)


def test_image_of_turn_one_changes_turn_two_logits(small):
    config, state = small
    ids, images = dialogues(config)
    before = our_logits(config, state, *batch_rows(config, ids, images, length=96))
    images[0][0].values[-1] += 1.0
    after = our_logits(config, state, *batch_rows(config, ids, images, length=96))
    change = np.abs(np.asarray(before - after))[0].max(axis=-1)
    first = int(np.argmax(ids[0] == config.image_id))
    assert (np.asarray(before)[1] == np.asarray(after)[1]).all()
    assert (change[:first] == 0).all() and (change[len(ids[0]) - 6 : len(ids[0])] > 1e-4).all()


def test_packed_tree_equals_separate_sequences(small):
    """One prefix with images and three suffixes in one row, against three rows of prefix + suffix."""
    config, state = small
    ids, images = dialogues(config)
    rng = np.random.default_rng(3)
    prefix_ids, own = ids[0], images[0]
    suffixes = [rng.integers(7, config.text.vocab, n).astype(np.int32) for n in (7, 3, 5)]
    whole = [np.concatenate([prefix_ids, suffix]) for suffix in suffixes]
    separate = np.asarray(our_logits(config, state, *batch_rows(config, whole, [own] * 3, length=104)))

    p = len(prefix_ids)
    vision, tokens, slots, positions, segment = batch_rows(config, [np.concatenate([prefix_ids, *suffixes])], [own], 110)
    prefix = np.zeros_like(segment)
    _, start = mrope_positions(prefix_ids, [image.grid for image in own], config.image_id)
    at = p
    for i, suffix in enumerate(suffixes):
        piece = slice(at, at + len(suffix))
        segment[0, piece], prefix[0, piece] = 2 + i, 1
        positions[:, 0, piece] = start + np.arange(len(suffix))
        at += len(suffix)
    packed = np.asarray(our_logits(config, state, vision, tokens, slots, positions, segment, prefix))[0]
    np.testing.assert_allclose(packed[:p], separate[0, :p], atol=2e-5)
    at = p
    for row, suffix in enumerate(suffixes):
        np.testing.assert_allclose(packed[at : at + len(suffix)], separate[row, p : p + len(suffix)], atol=2e-5)
        at += len(suffix)


def grow(past: Past, k, v, valid) -> Past:
    """Appends the new keys and values to the suffix, as the sampler does into its preallocated cache."""
    return dataclasses.replace(
        past,
        suffix_k=jnp.concatenate([past.suffix_k, k], axis=3),
        suffix_v=jnp.concatenate([past.suffix_v, v], axis=3),
        suffix_valid=jnp.concatenate([past.suffix_valid, valid], axis=1),
    )


def of_one_token(config, state, x, positions, past, valid, only, apart: bool):
    """`extend` for one token of each row, of blocks in their stack or taken apart."""
    @quick_jit
    def run(state):
        model = nnx.merge(nnx.graphdef(abstract_model(config)), state)
        if apart:
            model.text.take_apart()
        return model.extend(x, positions, past, valid, only=only)

    return run(state)


@pytest.mark.parametrize('tied', [False, True])
@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
def test_logits_of_blocks_taken_apart_are_those_of_the_stack(tied, dtype):
    """Of few rows and of many, of a head of its own and of the embeddings, in float32 whatever the activations are."""
    config = small_config()
    config = config.replace(dtype=dtype, text=dataclasses.replace(config.text, tied=tied))
    model = create(config, 0)
    few, many = (jax.random.normal(jax.random.key(n), (n, 1, config.text.hidden)).astype(dtype) for n in (3, FEW + 1))
    expected = [model.logits(x) for x in (few, many)]
    model.text.take_apart()
    for x, logits in zip((few, many), expected, strict=True):
        found = model.logits(x)
        assert found.dtype == jnp.float32 and found.shape == (len(x), 1, config.text.vocab)
        np.testing.assert_allclose(found, logits, atol=1e-5 if dtype == 'float32' else 1e-3)


def test_prefill_append_and_decode_equal_the_whole_sequence(small):
    """Ragged prefixes, G = 2 branches, ragged appended pieces, then token by token: logits of `hidden` on each dialogue."""
    config, state = small
    encode, embed, extend, head = (jitted(config, name) for name in ('encode_images', 'embed', 'extend', 'logits'))
    t = config.text
    ids, images = dialogues(config)
    rng = np.random.default_rng(5)
    branches = [[rng.integers(7, t.vocab, n).astype(np.int32) for n in row] for row in ((9, 6), (4, 8))]
    whole = [np.concatenate([ids[b], branches[b][g]]) for b in range(2) for g in range(2)]
    expected = np.asarray(
        our_logits(config, state, *batch_rows(config, whole, [images[b] for b in range(2) for _ in range(2)], 110))
    )

    length = 96
    vision, tokens, slots, positions, segment = batch_rows(config, ids, images, length)
    given = embed(state, tokens, encode(state, vision).reshape(-1, t.hidden), slots)
    past = empty_past(t.layers, 2, t.kv_heads, t.head_dim, jnp.float32)
    x, k, v = extend(state, given, positions, past, segment > 0)
    prefill = np.asarray(head(state, x))
    last = np.array([len(row) - 1 for row in ids], np.int32)
    for apart in (False, True):
        one, *rest = of_one_token(config, state, given, positions, past, segment > 0, last, apart)
        np.testing.assert_allclose(one[:, 0], x[np.arange(2), last], atol=2e-5)
        for found, held in zip(rest, (k, v), strict=True):
            np.testing.assert_allclose(found, held, atol=2e-5)
    for b in range(2):
        np.testing.assert_allclose(prefill[b, : len(ids[b])], expected[2 * b, : len(ids[b])], atol=2e-5)

    empty, pairs = jnp.zeros((t.layers, 4, t.kv_heads, 0, t.head_dim)), Sharing(jnp.arange(4), jnp.arange(4).reshape(2, 2))
    past = Past(k, v, jnp.asarray(segment > 0), empty, empty, jnp.zeros((4, 0), bool), sharing=pairs)
    start = np.array([[positions[:, b, : len(ids[b])].max() + 1] * 2 for b in range(2)])
    done = np.zeros((2, 2), int)
    for step in range(6):
        take = np.array([[rng.integers(0, 4) if step == 0 else 1] * 2 for _ in range(2)])
        take[0, 1] += step == 0
        take = np.minimum(take, [[len(s) for s in row] for row in branches] - done)
        q = max(int(take.max()), 1)
        new = np.zeros((2, 2, q), np.int32)
        for b, g in np.ndindex(2, 2):
            new[b, g, : take[b, g]] = branches[b][g][done[b, g] : done[b, g] + take[b, g]]
        valid = np.arange(q) < take[..., None]
        where = (start + done)[..., None] + np.arange(q)
        x = embed(state, new.reshape(4, q), jnp.zeros((1, t.hidden)), np.full((4, q), -1))
        x, k, v = extend(state, x, np.broadcast_to(where.reshape(4, q), (3, 4, q)), past, valid.reshape(4, q))
        logits = np.asarray(head(state, x)).reshape(2, 2, q, -1)
        past = grow(past, k, v, valid.reshape(4, q))
        for b, g in np.ndindex(2, 2):
            for i in range(take[b, g]):
                want = expected[2 * b + g, len(ids[b]) + done[b, g] + i]
                np.testing.assert_allclose(logits[b, g, i], want, atol=3e-5)
        done += take
    assert (done >= 4).all()


def test_padding_images_and_windows_change_no_feature(small):
    config, state = small
    encode = jitted(config, 'encode_images')
    image = random_image(np.random.default_rng(0), (10, 14))
    tight = encode(state, vision_inputs([image], 1, windows_needed(image.grid), 35))
    loose = encode(state, vision_inputs([image], 3, 9, 50))
    np.testing.assert_allclose(tight[0], loose[0, :35], atol=1e-5)
    assert np.isfinite(np.asarray(loose)).all()


@pytest.mark.parametrize('name, millions', [('tiny', 1.28), ('3b', 3754.6), ('7b', 8292.2), ('72b', 73410.8)])
def test_presets_declare_the_number_of_weights_they_state(name, millions):
    config = preset(name)
    declared = sum(leaf.size for leaf in jax.tree.leaves(nnx.state(abstract_model(config))))
    assert declared == config.parameters()
    assert abs(declared / 1e6 - millions) < 0.05


def test_published_configs_are_the_presets():
    path = pathlib.Path(__file__).parents[2] / 'shared' / 'qwen2.5-vl'
    if not path.is_dir():
        pytest.skip('the published Qwen2.5-VL configs are not on this machine')
    for name in ('3b', '7b'):
        published = json.loads((path / f'config.{name}.json').read_text())
        ours = preset(name)
        assert Config.from_hf(published) == ours
        assert Config.from_hf(ours.to_hf()) == ours


def test_flops_per_token_counts_two_per_weight_and_attention():
    config = small_config()
    t = config.text
    multiplied = sum(
        leaf.get_value().size
        for leaf, row in weights.rows(nnx.state(abstract_model(config)))
        if row.inputs and not row.name.startswith('visual')
    )
    assert config.flops_per_token(0) == 2 * multiplied
    assert config.flops_per_token(10) - config.flops_per_token(0) == 2 * 2 * t.layers * t.hidden * 10


@pytest.mark.parametrize(
    'change, words',
    [
        (dict(text=dict(heads=5)), 'divide'),
        (dict(text=dict(mrope_section=(1, 1, 1))), 'mrope_section'),
        (dict(vision=dict(output=47)), 'output 47'),
        (dict(vision=dict(full_attention=(4,))), '0 to 3'),
        (dict(dtype='float8'), 'float8'),
    ],
)
def test_a_contradiction_in_a_config_is_named(change, words):
    config = small_config()
    change = {
        k: dataclasses.replace(getattr(config, k), **v) if isinstance(v, dict) else v for k, v in change.items()
    }
    with pytest.raises(ValueError, match=words):
        config.replace(**change)


def test_two_seeds_give_two_policies_and_one_seed_one():
    config = small_config()
    a, b, c = (jax.tree.leaves(nnx.state(create(config, seed))) for seed in (0, 0, 1))
    assert all((x == y).all() for x, y in zip(a, b, strict=True))
    assert any((x != y).any() for x, y in zip(a, c, strict=True))


def test_new_weights_have_the_declared_spread():
    """Matrices 1 / sqrt(inputs), the last of a residual branch smaller by sqrt(2 * blocks), norms 1, biases 0."""
    model = create(small_config(), 0)
    t = model.text.blocks
    assert abs(float(t.q[...].std()) * 48**0.5 - 1) < 0.1
    assert abs(float(t.mlp.down[...].std()) * (48 * 2 * 3) ** 0.5 - 1) < 0.1
    assert (t.norm1[...] == 1).all() and (t.q_bias[...] == 0).all()
    assert isinstance(model, Qwen2_5_VL)
