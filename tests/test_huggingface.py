"""Checkpoints go to Hugging Face form and back without loss, streamed, and what does not fit is named."""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import load_file, save_file

from recoder_jax.models import huggingface, store, weights
from recoder_jax.models.qwen2_5_vl.config import Config, TextConfig, VisionConfig, preset
from recoder_jax.models.qwen2_5_vl.model import abstract_model
from tests import synthetic_checkpoint

ROOT = pathlib.Path(__file__).parents[1]
INDEX = 'model.safetensors.index.json'


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


@pytest.mark.parametrize('names, dtype', [('hub', 'BF16'), ('new', 'BF16'), ('hub', 'F16'), ('new', 'F32')])
def test_both_name_styles_and_all_float_types_are_read(tmp_path, names, dtype):
    """From files in several shards that our export did not write; float16 becomes bfloat16."""
    config = small_config()
    synthetic_checkpoint.write(tmp_path / 'hf', config, shard_bytes=30_000, names=names, dtype=dtype)
    assert len([*tmp_path.glob('hf/*.safetensors')]) > 3
    again, state = huggingface.import_policy(tmp_path / 'hf')
    assert again.param_dtype == ('float32' if dtype == 'F32' else 'bfloat16')
    for leaf, row in weights.rows(state):
        value = np.asarray(leaf.get_value())
        for name, one in zip(row.names, value if row.layers else [value], strict=True):
            stored = synthetic_checkpoint.content(synthetic_checkpoint.styled(name, names), row.stored_shape, dtype)
            np.testing.assert_array_equal(one, weights.from_stored(row, stored).astype(again.param_dtype))


@pytest.mark.parametrize('size, count', [('3b', 824), ('7b', 729), ('72b', 1353)])
def test_rows_cover_the_tensors_of_the_published_sizes(size, count):
    """Names, in both styles, and shapes are those of transformers' own model, which here holds no memory."""
    torch = pytest.importorskip('torch')
    transformers = pytest.importorskip('transformers')
    config = preset(size)
    rows = [row for _, row in weights.rows(nnx.state(abstract_model(config)))]
    ours = {name: row.stored_shape for row in rows for name in row.names}
    with torch.device('meta'):
        model = transformers.Qwen2_5_VLForConditionalGeneration(transformers.Qwen2_5_VLConfig(**config.to_hf()))
    new = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    if config.text.tied:
        assert new.pop('lm_head.weight') == new['model.language_model.embed_tokens.weight']
    assert {huggingface._hub_name(name): shape for name, shape in new.items()} == ours
    assert {huggingface._hub_name(name): shape for name, shape in ours.items()} == ours
    assert {synthetic_checkpoint.styled(name, 'new') for name in ours} == new.keys()
    assert len(ours) == count and ('lm_head.weight' in ours) == (size != '3b')
    assert sum(np.prod(shape) for shape in ours.values()) == config.parameters()


@pytest.mark.parametrize('tied', [False, True])
def test_an_export_has_the_names_and_the_arithmetic_that_transformers_saves(tmp_path, tied):
    """The config is compared with one whose sizes are given to transformers one by one."""
    transformers = pytest.importorskip('transformers')
    config = small_config(tied)
    config = config.replace(text=dataclasses.replace(config.text, rope_theta=5e5, eps=2e-6, max_positions=512))
    v, t = config.vision, config.text
    theirs = transformers.Qwen2_5_VLConfig(
        text_config=dict(
            vocab_size=96, hidden_size=48, num_hidden_layers=2, num_attention_heads=6, num_key_value_heads=2,
            intermediate_size=64, rms_norm_eps=2e-6, max_position_embeddings=512, max_window_layers=2,
            rope_parameters={'rope_type': 'default', 'type': 'mrope', 'rope_theta': 5e5, 'mrope_section': [1, 1, 2]},
        ),
        vision_config=dict(
            depth=v.depth, hidden_size=v.hidden, num_heads=v.heads, intermediate_size=v.intermediate,
            out_hidden_size=t.hidden, fullatt_block_indexes=[1], tokens_per_second=2, in_chans=3, spatial_patch_size=14,
        ),
        tie_word_embeddings=tied, image_token_id=5,
    )  # fmt: skip
    transformers.Qwen2_5_VLForConditionalGeneration(theirs).save_pretrained(tmp_path / 'theirs')
    huggingface.export_policy(tmp_path / 'ours', config, random_state(config))
    assert file_names(tmp_path / 'ours').keys() == file_names(tmp_path / 'theirs').keys()
    saved, read = (transformers.AutoConfig.from_pretrained(tmp_path / name).to_dict() for name in ('theirs', 'ours'))
    free = ('dtype', 'architectures', 'bos_token_id', 'eos_token_id', 'pad_token_id', '_name_or_path')
    for part in ('text_config', 'vision_config', None):
        one, other = (values[part] if part else values for values in (saved, read))
        keys = (one.keys() | other.keys()) - {*free, 'text_config', 'vision_config'}
        assert {key: one.get(key) for key in keys} == {key: other.get(key) for key in keys}
    assert huggingface.read_config(tmp_path / 'theirs').text == huggingface.read_config(tmp_path / 'ours').text == t
    assert huggingface.read_config(tmp_path / 'theirs').vision == v


def file_names(directory: pathlib.Path) -> dict[str, str]:
    """Tensor -> file, read off the files."""
    return {name: file.name for file in directory.glob('*.safetensors') for name in load_file(file)}


def test_the_index_of_an_export_says_where_every_tensor_lies(tmp_path):
    config = small_config()
    huggingface.export_policy(tmp_path / 'hf', config, random_state(config), shard_bytes=60_000)
    index = json.loads((tmp_path / 'hf' / INDEX).read_text())
    assert index['weight_map'] == file_names(tmp_path / 'hf')
    assert index['metadata']['total_size'] == 4 * config.parameters()
    shards = [load_file(file) for file in tmp_path.glob('hf/*.safetensors')]
    assert len(shards) > 3 and all(len(one) == 1 or sum(a.nbytes for a in one.values()) <= 60_000 for one in shards)


EIGHT_DEVICES = """
    import math, sys, weakref
    import jax
    from recoder_jax import sharding
    from recoder_jax.models import huggingface, weights

    _, whole = huggingface.import_policy(sys.argv[1])
    huggingface._CHUNK = 4096
    reads, blocks, shared, sizes = [], [], set(), []
    read, block = huggingface.StoredTensor.__getitem__, huggingface._block

    def counted_read(tensor, index):
        part = read(tensor, index)
        if len(tensor.shape) == 2:
            reads.append(part)
        return part

    def counted_block(*arguments):
        # a block that an array shares is the array; of the others none may be left
        left = [one() for one in blocks if one() is not None and one().ctypes.data not in shared]
        assert not left, [one.shape for one in left]
        out = block(*arguments)
        blocks.append(weakref.ref(out))
        sizes.append(out.nbytes)
        return out

    def counted_put(value, device):
        array = jax.device_put(value, device)
        shared.add(array.unsafe_buffer_pointer())
        return array

    huggingface.StoredTensor.__getitem__, huggingface._block = counted_read, counted_block
    mesh = sharding.make_mesh(data=2, fsdp=2, tensor=2)
    _, state = huggingface.import_policy(sys.argv[1], mesh, put=counted_put)
    leaves = jax.tree.leaves(state)
    assert all((jax.device_get(a) == jax.device_get(b)).all() for a, b in zip(leaves, jax.tree.leaves(whole), strict=True))
    slices = [leaf.dtype.itemsize * math.prod(leaf.sharding.shard_shape(leaf.shape)) for leaf in leaves]
    assert max(sizes) == max(slices) < max(leaf.nbytes for leaf in leaves), (max(sizes), max(slices))
    assert max(part.nbytes for part in reads) <= 4096
    rows = [row for _, row in weights.rows(state) if len(row.stored_shape) == 2]
    assert sum(part.size for part in reads) == sum(math.prod(row.stored_shape) * len(row.names) for row in rows)
    print('streamed')
"""


def test_import_holds_one_slice_and_reads_every_number_once(tmp_path):
    """On 2 x 2 x 2 devices: no block is left when the next is read, a read is a chunk, replicas share one reading."""
    config = small_config()
    synthetic_checkpoint.write(tmp_path / 'hf', config, shard_bytes=30_000, dtype='F32')
    environment = os.environ | {'JAX_PLATFORMS': 'cpu', 'JAX_NUM_CPU_DEVICES': '8', 'PYTHONPATH': str(ROOT)}
    command = [sys.executable, '-c', textwrap.dedent(EIGHT_DEVICES), str(tmp_path / 'hf')]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0 and 'streamed' in run.stdout, run.stderr[-3000:]


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
        (lambda t: t.update({'model.language_model.norm.weight': t['model.norm.weight'].copy()}), 'twice'),
    ],
)
def test_a_wrong_tensor_is_named(tmp_path, change, words):
    with pytest.raises(ValueError, match=words):
        huggingface.import_policy(exported(tmp_path, change))


@pytest.mark.parametrize(
    'suffix',
    [
        'qweight', 'qzeros', 'scales', 'g_idx',  # AWQ, GPTQ
        'weight_scale', 'weight_scale_inv', 'input_scale', 'weight_packed', 'weight_zero_point',  # fp8, compressed-tensors
        'weight.absmax', 'weight.quant_map', 'weight.nested_absmax', 'weight.quant_state.bitsandbytes__nf4', 'SCB',
    ],
)  # fmt: skip
def test_a_quantised_checkpoint_is_refused_by_its_names(tmp_path, suffix):
    name = f'model.layers.0.mlp.up_proj.{suffix}'
    with pytest.raises(ValueError, match=rf'is quantised \(tensor {name}\); use the unquantised weights'):
        huggingface.import_policy(exported(tmp_path, lambda t: t.update({name: np.zeros(3, np.float32)})))


@pytest.mark.parametrize('dtype, named', [('int8', 'I8'), ('uint8', 'U8'), ('int32', 'I32'), ('float8_e4m3fn', 'F8_E4M3')])
def test_a_quantised_checkpoint_is_refused_by_its_dtypes(tmp_path, dtype, named):
    """Whatever its shape: packed weights have another."""
    for size in (48, 24):
        change = {NORM: np.zeros(size, jnp.dtype(dtype))}
        with pytest.raises(ValueError, match=rf'is quantised \(tensor {NORM} has dtype {named}\)'):
            huggingface.import_policy(exported(tmp_path / str(size), lambda t, change=change: t.update(change)))


@pytest.mark.parametrize('method', ['awq', 'gptq', 'fp8', 'bitsandbytes'])
def test_a_quantised_checkpoint_is_refused_by_its_config(tmp_path, method):
    """Before a file is opened: there is none here."""
    values = small_config().to_hf() | {'quantization_config': {'quant_method': method}}
    (tmp_path / 'config.json').write_text(json.dumps(values))
    with pytest.raises(ValueError, match='quantised.*use the unquantised weights'):
        huggingface.import_policy(tmp_path)


@pytest.fixture
def sharded(tmp_path):
    """A checkpoint of several shards."""
    synthetic_checkpoint.write(tmp_path / 'hf', small_config(), shard_bytes=30_000)
    return tmp_path / 'hf'


FIRST, SECOND = 'model-00001-of-00008.safetensors', 'model-00002-of-00008.safetensors'


@pytest.mark.parametrize(
    'change, words',
    [
        (lambda m: m.update({'model.extra.weight': FIRST}), f'{FIRST} lacks tensor model.extra.weight, which {INDEX}'),
        (lambda m: m.update({NORM: FIRST if m[NORM] != FIRST else SECOND}), f'lacks tensor {NORM}, which {INDEX} places'),
        (lambda m: m.pop(NORM), f'holds tensor {NORM}, which {INDEX} does not list'),
        (lambda m: m.update({NORM: 'model-9.safetensors'}), f'lacks model-9.safetensors, named in {INDEX}'),
        (lambda m: m.update({NORM: 3}), f'{INDEX} has no weight_map'),
        (lambda m: m.clear(), f'{INDEX} has no weight_map'),
    ],
)
def test_an_index_that_contradicts_the_files_is_refused(sharded, change, words):
    index = json.loads((sharded / INDEX).read_text())
    assert set(index['weight_map'].values()) >= {FIRST, SECOND}
    change(index['weight_map'])
    (sharded / INDEX).write_text(json.dumps(index))
    with pytest.raises((ValueError, FileNotFoundError), match=f'{words}.*; download it again'):
        huggingface.import_policy(sharded)


@pytest.mark.parametrize('file', [INDEX, 'config.json'])
@pytest.mark.parametrize('text, words', [('{', 'not valid JSON'), ('[]', 'not a JSON object'), ('\xff', 'not valid JSON')])
def test_files_that_are_not_json_objects_are_refused(sharded, file, text, words):
    (sharded / file).write_bytes(text.encode('latin1'))
    with pytest.raises(ValueError, match=f'{file} is {words}.*; download it again'):
        huggingface.import_policy(sharded)


def test_files_that_the_index_does_not_name_are_not_looked_at(sharded):
    (sharded / 'consolidated.safetensors').write_bytes(b'of another program')
    huggingface.import_policy(sharded)
    (sharded / INDEX).unlink()
    with pytest.raises(ValueError, match='consolidated.safetensors is not a readable'):
        huggingface.import_policy(sharded)


@pytest.mark.parametrize('left', [0, 5, 200, -1])
def test_a_truncated_file_is_refused(sharded, left):
    content = (sharded / SECOND).read_bytes()
    (sharded / SECOND).write_bytes(content[:left])
    with pytest.raises(ValueError, match=f'{SECOND} is not a readable safetensors file .*; download it again'):
        huggingface.import_policy(sharded)


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


def test_a_foreign_config_is_refused(tmp_path):
    values = small_config().to_hf()
    for change, words in (
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
    config = small_config().replace(dtype='bfloat16')
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
