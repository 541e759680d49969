"""The policy computes what transformers' Qwen2.5-VL computes, and its three roads (packed, cached, separate) agree."""

import dataclasses
import functools
import json
import pathlib
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from recoder_jax.models import huggingface
from recoder_jax.models.qwen2_5_vl.attention import Past, empty_past
from recoder_jax.models.qwen2_5_vl.config import Config, TextConfig, VisionConfig, preset
from recoder_jax.models.qwen2_5_vl.model import Qwen2_5_VL, abstract_model, create
from recoder_jax.models.qwen2_5_vl.positions import mrope_positions
from recoder_jax.models.qwen2_5_vl.windows import merged_tokens, vision_inputs, windows_needed

torch = pytest.importorskip('torch')
transformers = pytest.importorskip('transformers')


def small_config(**changes) -> Config:
    """A policy of some 60 k weights with every rule of the large ones: GQA, window and full blocks, untied head."""
    vision = VisionConfig(depth=4, hidden=32, heads=2, intermediate=40, output=48, full_attention=(1, 3))
    text = TextConfig(
        vocab=96, hidden=48, layers=3, heads=6, kv_heads=2, intermediate=64, mrope_section=(1, 1, 2), max_positions=4096
    )
    base = Config(
        vision, text, image_id=5, video_id=6, vision_start_id=3, vision_end_id=4, end_id=2, pad_id=0,
        dtype='float32', param_dtype='float32',
    )  # fmt: skip
    return base.replace(**changes)


def random_image(rng: np.random.Generator, grid: tuple[int, int]) -> SimpleNamespace:
    values = rng.normal(size=(grid[0] * grid[1], 1176)).astype(np.float32)
    return SimpleNamespace(values=values, grid=grid)


def random_dialogue(rng, config: Config, images, text=(4, 5, 6)) -> np.ndarray:
    """Text, image, text, image, ..., text; the pieces of text have the lengths `text`."""
    pieces = [rng.integers(7, config.text.vocab, text[0])]
    for image, length in zip(images, text[1:], strict=True):
        body = [config.image_id] * merged_tokens(image.grid)
        pieces += [[config.vision_start_id], body, [config.vision_end_id], rng.integers(7, config.text.vocab, length)]
    return np.concatenate(pieces).astype(np.int32)


def torch_model(config: Config, seed: int = 0, noise: float = 0.1):
    """A transformers model of these sizes with random weights; norms and biases too are moved off 1 and 0."""
    torch.manual_seed(seed)
    hf = transformers.Qwen2_5_VLConfig(**{k: v for k, v in config.to_hf().items() if k != 'architectures'})
    hf._attn_implementation = 'eager'
    model = transformers.Qwen2_5_VLForConditionalGeneration(hf).float().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(noise * torch.randn_like(parameter))
    return model


def torch_logits(model, config: Config, dialogue: np.ndarray, images) -> np.ndarray:
    """Logits [S, V] of one unpadded dialogue."""
    ids = torch.tensor(dialogue[None].astype(np.int64))
    grids = torch.tensor([[1, *image.grid] for image in images])
    with torch.no_grad():
        out = model(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            mm_token_type_ids=(ids == config.image_id).int(),
            pixel_values=torch.tensor(np.concatenate([image.values for image in images])),
            image_grid_thw=grids,
        )
    return out.logits[0].numpy()


def batch_rows(config: Config, dialogues, images_of_rows, length: int, windows: int = 8, merged: int = 40):
    """Arrays of `embed` and `hidden` for dialogues, one a row, padded on the right to `length`."""
    images = [image for row in images_of_rows for image in row]
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
        at = np.flatnonzero(ids == config.image_id)
        slots[row, at] = np.concatenate(
            [np.arange(merged_tokens(image.grid)) + (first + i) * merged for i, image in enumerate(own)]
        )
        first += len(own)
    return vision, tokens, slots, positions, segment


def our_logits(config: Config, state, vision, tokens, slots, positions, segment, prefix=None) -> jax.Array:
    prefix = np.zeros_like(segment) if prefix is None else prefix
    return compiled_logits(config)(state, vision, tokens, slots, positions, segment, prefix)


@functools.cache
def compiled_logits(config: Config):
    graphdef = nnx.graphdef(abstract_model(config))

    @jax.jit
    def run(state, vision, tokens, slots, positions, segment, prefix):
        model = nnx.merge(graphdef, state)
        features = model.encode_images(vision).reshape(-1, config.text.hidden)
        x = model.embed(tokens, features, slots)
        return model.logits(model.hidden(x, positions, segment, prefix))

    return run


@pytest.fixture(scope='module')
def pair(tmp_path_factory):
    """A transformers model and the same weights imported through files."""
    config = small_config()
    model = torch_model(config)
    path = tmp_path_factory.mktemp('hf')
    model.save_pretrained(path)
    _, state = huggingface.import_policy(path)
    return config, model, state


def dialogues(config: Config, seed: int = 0):
    """Two rows: two images (one with partial windows at both edges, one of whole windows), and one image with less text."""
    rng = np.random.default_rng(seed)
    images = [[random_image(rng, (10, 14)), random_image(rng, (8, 16))], [random_image(rng, (4, 18))]]
    return [random_dialogue(rng, config, own, (4, 5, 6)[: len(own) + 1]) for own in images], images


def test_logits_equal_transformers_with_two_images_and_a_padded_row(pair):
    config, model, state = pair
    ids, images = dialogues(config)
    ours = np.asarray(our_logits(config, state, *batch_rows(config, ids, images, length=96)))
    for row, (one, own) in enumerate(zip(ids, images, strict=True)):
        theirs = torch_logits(model, config, one, own)
        error = np.abs(ours[row, : len(one)] - theirs).max()
        print(f'row {row}: {len(one)} tokens, max abs logit {np.abs(theirs).max():.2f}, error {error:.2e}')
        assert error < 1e-4


def test_image_of_turn_one_changes_turn_two_logits(pair):
    config, _, state = pair
    ids, images = dialogues(config)
    before = our_logits(config, state, *batch_rows(config, ids, images, length=96))
    images[0][0].values[-1] += 1.0
    after = our_logits(config, state, *batch_rows(config, ids, images, length=96))
    change = np.abs(np.asarray(before - after))[0].max(axis=-1)
    first = int(np.argmax(ids[0] == config.image_id))
    assert (np.asarray(before)[1] == np.asarray(after)[1]).all()
    assert (change[:first] == 0).all() and (change[len(ids[0]) - 6 : len(ids[0])] > 1e-4).all()


@pytest.mark.parametrize('full', [(), (1, 2)])
def test_every_pattern_of_full_attention_blocks_equals_transformers(full, tmp_path):
    config = small_config()
    config = config.replace(vision=dataclasses.replace(config.vision, full_attention=full))
    model = torch_model(config)
    model.save_pretrained(tmp_path)
    _, state = huggingface.import_policy(tmp_path)
    ids, images = dialogues(config)
    ours = our_logits(config, state, *batch_rows(config, ids[:1], images[:1], length=96))
    error = np.abs(np.asarray(ours)[0, : len(ids[0])] - torch_logits(model, config, ids[0], images[0])).max()
    assert error < 1e-4


def test_gradients_equal_torch_autograd(pair):
    """d(loss)/d(weight) for every weight, compared in the stored form, with recomputed blocks and an unrolled loop."""
    config, model, state = pair
    config = config.replace(remat=True, unroll=2)
    ids, images = dialogues(config)
    rows = batch_rows(config, ids[:1], images[:1], length=len(ids[0]))
    graphdef = nnx.graphdef(abstract_model(config))

    def loss(state):
        ours = nnx.merge(graphdef, state)
        x = ours.embed(rows[1], ours.encode_images(rows[0]).reshape(-1, config.text.hidden), rows[2])
        logp = jax.nn.log_softmax(ours.logits(ours.hidden(x, rows[3], rows[4], jnp.zeros_like(rows[4]))))
        return -jnp.take_along_axis(logp[:, :-1], rows[1][:, 1:, None], axis=-1).mean()

    ours = jax.jit(jax.grad(loss))(state)
    inputs = torch.tensor(ids[0][None].astype(np.int64))
    model.zero_grad()
    out = model(
        input_ids=inputs,
        attention_mask=torch.ones_like(inputs),
        mm_token_type_ids=(inputs == config.image_id).int(),
        pixel_values=torch.tensor(np.concatenate([image.values for image in images[0]])),
        image_grid_thw=torch.tensor([[1, *image.grid] for image in images[0]]),
    )
    torch.nn.functional.cross_entropy(out.logits[0, :-1], inputs[0, 1:]).backward()
    theirs = {huggingface._hub_name(name): p.grad.numpy() for name, p in model.named_parameters()}
    scale = max(np.abs(g).max() for g in theirs.values())
    worst = 0.0
    for leaf, row in huggingface.weights.rows(ours):
        for layer, name in enumerate(row.names):
            worst = max(worst, np.abs(huggingface._stored(leaf, row, layer) - theirs[name]).max())
    print(f'largest gradient {scale:.3f}, largest error {worst:.2e}')
    assert worst < 1e-4 * scale


def test_packed_tree_equals_separate_sequences(pair):
    """One prefix with images and three suffixes in one row, against three rows of prefix + suffix: values and gradients."""
    config, _, state = pair
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


def jitted(config: Config, method: str):
    """`method` of the policy as a jitted function of (state, *arguments)."""
    graphdef = nnx.graphdef(abstract_model(config))
    return jax.jit(lambda state, *arguments: getattr(nnx.merge(graphdef, state), method)(*arguments))


def grow(past: Past, k, v, valid) -> Past:
    """Appends the new keys and values to the suffix, as the sampler does into its preallocated cache."""
    return dataclasses.replace(
        past,
        suffix_k=jnp.concatenate([past.suffix_k, k], axis=4),
        suffix_v=jnp.concatenate([past.suffix_v, v], axis=4),
        suffix_valid=jnp.concatenate([past.suffix_valid, valid], axis=2),
    )


def test_prefill_append_and_decode_equal_the_whole_sequence(pair):
    """Ragged prefixes, G = 2 branches, ragged appended pieces, then token by token: logits of `hidden` on each dialogue."""
    config, _, state = pair
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
    x = embed(state, tokens, encode(state, vision).reshape(-1, t.hidden), slots)
    past = empty_past(t.layers, 2, 1, t.kv_heads, t.head_dim, jnp.float32)
    x, k, v = extend(state, x[:, None], positions[:, :, None], past, segment[:, None] > 0)
    prefill = np.asarray(head(state, x))[:, 0]
    for b in range(2):
        np.testing.assert_allclose(prefill[b, : len(ids[b])], expected[2 * b, : len(ids[b])], atol=2e-5)

    empty = jnp.zeros((t.layers, 2, 2, t.kv_heads, 0, t.head_dim))
    past = Past(k[:, :, 0], v[:, :, 0], jnp.asarray(segment > 0), empty, empty, jnp.zeros((2, 2, 0), bool))
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
        x = embed(state, new, jnp.zeros((1, t.hidden)), np.full((2, 2, q), -1))
        x, k, v = extend(state, x, np.broadcast_to(where, (3, 2, 2, q)), past, valid)
        logits = np.asarray(head(state, x))
        past = grow(past, k, v, valid)
        for b, g in np.ndindex(2, 2):
            for i in range(take[b, g]):
                want = expected[2 * b + g, len(ids[b]) + done[b, g] + i]
                np.testing.assert_allclose(logits[b, g, i], want, atol=3e-5)
        done += take
    assert (done >= 4).all()


def test_padding_images_and_windows_change_no_feature(pair):
    config, _, state = pair
    encode = jitted(config, 'encode_images')
    image = random_image(np.random.default_rng(0), (10, 14))
    tight = encode(state, vision_inputs([image], 1, windows_needed(image.grid), 35))
    loose = encode(state, vision_inputs([image], 3, 9, 50))
    np.testing.assert_allclose(tight[0], loose[0, :35], atol=1e-5)
    assert np.isfinite(np.asarray(loose)).all()


def test_bfloat16_stays_within_the_noise_of_transformers_in_bfloat16(pair):
    """Our bf16 logits are no further from the fp32 logits than twice transformers' own bf16 logits are."""
    config, model, state = pair
    ids, images = dialogues(config)
    exact = torch_logits(model, config, ids[0], images[0])
    half = torch_model(config)
    half.load_state_dict(model.state_dict())
    theirs = np.abs(torch_logits_bf16(half, config, ids[0], images[0]) - exact)
    rows = batch_rows(config, ids[:1], images[:1], length=len(ids[0]))
    ours = np.abs(np.asarray(our_logits(config.replace(dtype='bfloat16'), state, *rows))[0] - exact)
    print(f'bf16 mean error: ours {ours.mean():.4f}, transformers {theirs.mean():.4f}')
    assert ours.mean() < 2 * theirs.mean()


def torch_logits_bf16(model, config, ids, images):
    model = model.to(torch.bfloat16)
    tokens = torch.tensor(ids[None].astype(np.int64))
    with torch.no_grad():
        out = model(
            input_ids=tokens,
            attention_mask=torch.ones_like(tokens),
            mm_token_type_ids=(tokens == config.image_id).int(),
            pixel_values=torch.tensor(np.concatenate([image.values for image in images])).to(torch.bfloat16),
            image_grid_thw=torch.tensor([[1, *image.grid] for image in images]),
        )
    return out.logits[0].float().numpy()


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
    weights = sum(
        leaf.get_value().size
        for leaf, row in huggingface.weights.rows(nnx.state(abstract_model(config)))
        if row.inputs and not row.name.startswith('visual')
    )
    assert config.flops_per_token(0) == 2 * weights
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
