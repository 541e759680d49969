"""Checkpoints go to Hugging Face form and back without loss, streamed, and what does not fit is named."""

import dataclasses
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import load_file, save_file

from recoder_jax.models import huggingface, store, weights
from recoder_jax.models.qwen2_5_vl.config import Config, TextConfig, VisionConfig, preset
from recoder_jax.models.qwen2_5_vl.model import abstract_model


def small_config(tied: bool = False) -> Config:
    vision = VisionConfig(depth=2, hidden=32, heads=2, intermediate=40, output=48, full_attention=(1,))
    text = TextConfig(
        vocab=96, hidden=48, layers=2, heads=6, kv_heads=2, intermediate=64, mrope_section=(1, 1, 2), tied=tied
    )
    return Config(vision, text, image_id=5, end_id=2, pad_id=0, dtype='float32', param_dtype='float32')


def random_state(config: Config, seed: int = 0) -> nnx.State:
    """Every weight random (no ones, no zeros), without compiling anything."""
    rng = np.random.default_rng(seed)
    state = nnx.state(abstract_model(config))
    return jax.tree.map(lambda a: jnp.asarray(rng.normal(size=a.shape), a.dtype), state)


def same(a: nnx.State, b: nnx.State) -> bool:
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(x.dtype == y.dtype and (np.asarray(x) == np.asarray(y)).all() for x, y in pairs)


@pytest.mark.parametrize('tied', [False, True])
def test_export_then_import_gives_the_same_bits(tmp_path, tied):
    config = small_config(tied)
    state = random_state(config)
    huggingface.export_policy(tmp_path / 'hf', config, state, shard_bytes=60_000)
    files = sorted(tmp_path.glob('hf/*.safetensors'))
    index = json.loads((tmp_path / 'hf' / 'model.safetensors.index.json').read_text())
    assert len(files) > 3 and set(index['weight_map'].values()) == {file.name for file in files}
    again, loaded = huggingface.import_policy(tmp_path / 'hf')
    assert again == config and same(state, loaded)


def test_bfloat16_weights_keep_their_bits(tmp_path):
    config = small_config().replace(param_dtype='bfloat16', dtype='bfloat16')
    state = random_state(config)
    huggingface.export_policy(tmp_path / 'hf', config, state)
    again, loaded = huggingface.import_policy(tmp_path / 'hf')
    assert again == config and same(state, loaded)
    wide, loaded = huggingface.import_policy(tmp_path / 'hf', param_dtype='float32')
    assert wide.param_dtype == 'float32' and all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(loaded))


@pytest.mark.parametrize('tied', [False, True])
def test_transformers_loads_an_export_and_computes_the_same_logits(tmp_path, tied):
    torch = pytest.importorskip('torch')
    transformers = pytest.importorskip('transformers')
    config = small_config(tied)
    state = jax.tree.map(lambda a: 0.2 * a, random_state(config))
    huggingface.export_policy(tmp_path / 'hf', config, state, shard_bytes=60_000)
    model, report = transformers.Qwen2_5_VLForConditionalGeneration.from_pretrained(
        tmp_path / 'hf', attn_implementation='eager', output_loading_info=True
    )
    assert not report['missing_keys'] and not report['unexpected_keys'] and not report['mismatched_keys']
    ids = np.random.default_rng(1).integers(7, 96, (2, 20))
    with torch.no_grad():
        theirs = model(input_ids=torch.tensor(ids)).logits.numpy()
    ours = nnx.merge(nnx.graphdef(abstract_model(config)), state)
    x = ours.embed(jnp.asarray(ids), jnp.zeros((1, 48)), jnp.full(ids.shape, -1))
    positions = np.broadcast_to(np.arange(20, dtype=np.int32), (3, 2, 20))
    logits = ours.logits(ours.hidden(x, positions, np.ones_like(ids), np.zeros_like(ids)))
    error = np.abs(np.asarray(logits) - theirs).max()
    print(f'error {error:.2e} of logits up to {np.abs(theirs).max():.1f}')
    assert error < 1e-4


def test_both_name_styles_are_read(tmp_path):
    config = small_config()
    state = random_state(config)
    huggingface.export_policy(tmp_path / 'hub', config, state)
    (tmp_path / 'new').mkdir()
    renamed = {}
    for file in tmp_path.glob('hub/*.safetensors'):
        for name, value in load_file(file).items():
            name = name.replace('model.', 'model.language_model.', 1) if name.startswith('model.') else name
            renamed['model.' + name if name.startswith('visual.') else name] = value
    save_file(renamed, tmp_path / 'new' / 'model.safetensors')
    (tmp_path / 'new' / 'config.json').write_text((tmp_path / 'hub' / 'config.json').read_text())
    assert same(state, huggingface.import_policy(tmp_path / 'new')[1])


def test_rows_cover_the_tensors_of_the_published_sizes():
    """Counts and shapes as the hub's index files list them: 824 tensors for 3B, 729 for 7B, 1353 for 72B."""
    expected = {'3b': 36 * 12 + 2, '7b': 28 * 12 + 3, '72b': 80 * 12 + 3}
    for name, text in expected.items():
        rows = [row for _, row in weights.rows(nnx.state(abstract_model(preset(name))))]
        stored = {tensor: row.stored_shape for row in rows for tensor in row.names}
        assert len(stored) == text + 32 * 12 + 6
        assert ('lm_head.weight' in stored) == (name != '3b')
        v = preset(name).vision
        assert stored['visual.blocks.31.attn.qkv.weight'] == (3840, 1280)
        assert stored['visual.blocks.0.mlp.down_proj.weight'] == (1280, v.intermediate)
        assert stored['visual.patch_embed.proj.weight'] == (1280, 3, 2, 14, 14)
        assert stored['visual.merger.mlp.2.weight'] == (v.output, 5120)
        t = preset(name).text
        assert stored['model.layers.0.self_attn.k_proj.weight'] == (t.kv_heads * 128, t.hidden)
        assert stored['model.layers.1.self_attn.o_proj.weight'] == (t.hidden, t.hidden)
        assert stored['model.embed_tokens.weight'] == (t.vocab, t.hidden)


def test_only_the_asked_slice_of_a_tensor_is_read():
    """A device's part of a projection reads its rows and columns, and nothing else."""
    config = small_config()
    rows = {row.name: row for _, row in weights.rows(nnx.state(abstract_model(config)))}
    rng = np.random.default_rng(0)

    class Recorder:
        def __init__(self, value):
            self.value, self.read = value, 0

        def __getitem__(self, index):
            part = self.value[index]
            self.read += part.size
            return part

    for name, index in {
        'model.layers.{}.self_attn.q_proj.weight': (slice(0, 24), slice(1, 2), slice(0, 3), slice(0, 8)),
        'model.layers.{}.self_attn.o_proj.weight': (slice(1, 2), slice(0, 3), slice(0, 8), slice(12, 24)),
        'model.layers.{}.mlp.down_proj.weight': (slice(16, 32), slice(0, 48)),
        'model.embed_tokens.weight': (slice(24, 48), slice(0, 24)),
        'visual.blocks.{}.attn.qkv.weight': (slice(0, 16), slice(0, 3), slice(0, 2), slice(0, 16)),
    }.items():
        row = rows[name]
        tensor = Recorder(rng.normal(size=row.stored_shape))
        part = huggingface._read(tensor, row, index)
        np.testing.assert_array_equal(part, weights.from_stored(row, tensor.value)[index])
        assert tensor.read == part.size


def exported(path: pathlib.Path, change) -> pathlib.Path:
    """An export whose tensors `change(dict)` has edited."""
    config = small_config()
    huggingface.export_policy(path / 'good', config, random_state(config))
    tensors = {k: v for file in (path / 'good').glob('*.safetensors') for k, v in load_file(file).items()}
    change(tensors)
    (path / 'bad').mkdir()
    save_file(tensors, path / 'bad' / 'model.safetensors')
    (path / 'bad' / 'config.json').write_text((path / 'good' / 'config.json').read_text())
    return path / 'bad'


NORM = 'model.layers.1.input_layernorm.weight'


@pytest.mark.parametrize(
    'change, words',
    [
        (lambda t: t.pop(NORM), f'lacks 1 tensors.*{NORM}'),
        (lambda t: t.update({'visual.extra.weight': np.zeros(3)}), 'holds 1 tensors.*visual.extra.weight'),
        (lambda t: t.update({NORM: np.zeros(47, np.float32)}), rf'{NORM} has shape \(47,\).*\(48,\)'),
        (lambda t: t.update({NORM: np.zeros(48, np.int8)}), f'{NORM} has dtype I8 .quantised.'),
        (lambda t: t.update({'model.layers.0.mlp.up_proj.qweight': np.zeros(3, np.int32)}), 'quantised'),
        (lambda t: t.update({'model.language_model.norm.weight': t['model.norm.weight'].copy()}), 'twice'),
    ],
)
def test_a_wrong_tensor_is_named(tmp_path, change, words):
    with pytest.raises(ValueError, match=words):
        huggingface.import_policy(exported(tmp_path, change))


def test_a_tied_checkpoint_may_repeat_its_embedding_but_not_contradict_it(tmp_path):
    config = small_config(tied=True)
    state = random_state(config)
    huggingface.export_policy(tmp_path / 'hf', config, state)
    (file,) = (tmp_path / 'hf').glob('*.safetensors')
    tensors = load_file(file)
    tensors['lm_head.weight'] = tensors['model.embed_tokens.weight'].copy()
    (tmp_path / 'hf' / 'model.safetensors.index.json').unlink()
    save_file(tensors, file)
    assert same(state, huggingface.import_policy(tmp_path / 'hf')[1])
    tensors['lm_head.weight'][3, 3] += 1
    save_file(tensors, file)
    with pytest.raises(ValueError, match='lm_head.weight'):
        huggingface.import_policy(tmp_path / 'hf')


def test_a_quantised_or_foreign_config_is_refused(tmp_path):
    values = small_config().to_hf()
    for change, words in (
        ({'quantization_config': {'quant_method': 'awq'}}, 'quantised'),
        ({'model_type': 'qwen2_vl'}, 'qwen2_vl'),
        ({'hidden_act': 'gelu'}, 'gelu'),
        ({'use_sliding_window': True}, 'use_sliding_window'),
    ):
        with pytest.raises(ValueError, match=words):
            Config.from_hf({**values, **change})
    del values['vision_config']['depth']
    with pytest.raises(ValueError, match="'depth'"):
        Config.from_hf(values)


def test_a_policy_checkpoint_returns_the_same_bits_and_config(tmp_path):
    config = small_config().replace(remat=True, dtype='bfloat16')
    state = random_state(config)
    store.save_policy(tmp_path / 'policy', config, state)
    again, loaded = store.load_policy(tmp_path / 'policy')
    assert again == config and same(state, loaded)
    assert jax.tree.structure(state) == jax.tree.structure(loaded)
    with pytest.raises(ValueError, match='not empty'):
        store.save_policy(tmp_path / 'policy', config, state)


def test_a_policy_checkpoint_of_other_sizes_names_the_weight(tmp_path):
    config = small_config()
    store.save_policy(tmp_path / 'policy', config, random_state(config))
    other = config.replace(text=dataclasses.replace(config.text, vocab=97))
    store.write_config(tmp_path / 'policy', other)
    with pytest.raises(ValueError, match=r"embedding.*\(96, 48\).*\(97, 48\)"):
        store.load_policy(tmp_path / 'policy')
