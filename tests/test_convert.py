"""The convert door: round trip through files, tokenizer files kept, one sentence and exit code 2 for bad input."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file

from recoder_jax import convert
from recoder_jax.models import huggingface
from tests.test_huggingface import random_state, small_config


@pytest.fixture
def source(tmp_path):
    """A Hugging Face checkpoint with a tokenizer file."""
    config = small_config()
    huggingface.export_policy(tmp_path / 'hf', config, random_state(config))
    (tmp_path / 'hf' / 'tokenizer.json').write_text('{"model": {}}')
    return tmp_path / 'hf'


def tensors(directory):
    return {k: v for file in sorted(directory.glob('*.safetensors')) for k, v in load_file(file).items()}


def test_import_then_export_gives_the_tensors_and_the_tokenizer_back(source, tmp_path, capsys):
    assert convert.main(['import', str(source), str(tmp_path / 'policy')]) == 0
    assert convert.main(['export', str(tmp_path / 'policy'), str(tmp_path / 'back'), '--shard-gb', '0.0001']) == 0
    assert 'parameters in float32 written to' in capsys.readouterr().out
    before, after = tensors(source), tensors(tmp_path / 'back')
    assert before.keys() == after.keys() and all(np.array_equal(before[k], after[k]) for k in before)
    assert (tmp_path / 'back' / 'tokenizer.json').read_text() == '{"model": {}}'
    assert json.loads((tmp_path / 'back' / 'config.json').read_text())['model_type'] == 'qwen2_5_vl'
    assert len(list((tmp_path / 'back').glob('*.safetensors'))) > 1


def bad_inputs(source, tmp_path):
    """(arguments, words of the sentence)."""
    empty, broken, occupied = tmp_path / 'empty', tmp_path / 'broken', tmp_path / 'occupied'
    for directory in (empty, broken, occupied):
        directory.mkdir()
    (occupied / 'x').write_text('')
    for name in ('config.json', 'tokenizer.json'):
        (broken / name).write_text((source / name).read_text())
    (broken / 'model.safetensors').write_bytes(b'\x00' * 100)
    file = tmp_path / 'file'
    file.write_text('')
    new = str(tmp_path / 'new')
    return [
        (['import', str(tmp_path / 'nothing'), new], 'config.json does not exist'),
        (['import', str(empty), new], 'config.json does not exist'),
        (['import', str(broken), new], 'not a readable safetensors file'),
        (['import', str(source), str(occupied)], 'not empty'),
        (['import', str(source), str(file)], 'not empty'),
        (['import', str(source), str(file / 'below')], 'file'),
        (['export', str(source), new], 'params does not exist'),
        (['export', str(empty), new], 'config.json is missing'),
        (['export', str(source), new, '--shard-gb', '0'], 'positive'),
        (['export', str(source), new, '--tokenizer', str(tmp_path / 'nothing')], 'tokenizer files'),
    ]


def test_bad_input_ends_with_one_sentence_and_exit_code_2(source, tmp_path, capsys):
    for arguments, words in bad_inputs(source, tmp_path):
        assert convert.main(arguments) == 2, arguments
        error = capsys.readouterr().err.strip().split('\n')[-1]
        assert error.startswith('convert: ') and words in error, (arguments, error)
        assert not (tmp_path / 'new').exists()


def test_unknown_arguments_end_with_exit_code_2(capsys):
    with pytest.raises(SystemExit) as stop:
        convert.main(['transmute', 'a', 'b'])
    assert stop.value.code == 2
    assert 'transmute' in capsys.readouterr().err
