"""The tiny tokenizer: exact round trips, Qwen's special tokens, few ids for what the world writes."""
import json
from pathlib import Path
import subprocess
import sys

from hypothesis import given, settings, strategies as st
import numpy as np
import pytest
from transformers import AutoTokenizer

from recoder_jax.data.chart_world import ChartWorld
from recoder_jax.data.chart_world_words import COLORS, SERIES, TITLES, words, X_LABELS, Y_LABELS
from recoder_jax.data.corrections import world_correction
from recoder_jax.data.tiny_tokenizer import SPECIAL_TOKENS, train, VOCABULARY
from recoder_jax.dialogue import encoder
from recoder_jax.dialogue.response import write_response
from recoder_jax.dialogue.turns import Prompts

DIRECTORY = Path(encoder.__file__).with_name('tiny_tokenizer')
REAL = Path(__file__).resolve().parents[2] / 'shared' / 'qwen2.5-vl' / 'tokenizer.json'


@pytest.fixture(scope='module')
def tokenizer():
    return encoder.load_tokenizer('tiny')


def count(tokenizer, text: str) -> int:
    return len(tokenizer.encode(text, add_special_tokens=False).ids)


def test_any_text_round_trips(tokenizer):
    pieces = st.sampled_from(["'", "', '", 'ax.bar([', ', 7', '= 8\n', '. A', '    ', '\r\n', "'Sales'", '#', '\t', 'é'])

    @settings(max_examples=400, deadline=None)
    @given(st.one_of(st.text(), st.lists(st.one_of(pieces, st.text(max_size=3))).map(''.join)))
    def check(text):
        assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False).ids, skip_special_tokens=False) == text

    check()


def test_transformers_loads_the_directory_and_gives_the_same_ids(tokenizer):
    loaded = AutoTokenizer.from_pretrained(DIRECTORY)
    assert len(loaded) == VOCABULARY
    assert loaded.convert_ids_to_tokens([loaded.eos_token_id, loaded.pad_token_id]) == ['<|im_end|>', '<|endoftext|>']
    for difficulty in (0, 3):
        text = ChartWorld('test', 1, difficulty).program(0)
        assert loaded(text, add_special_tokens=False).input_ids == tokenizer.encode(text).ids
        assert loaded.decode(tokenizer.encode(text).ids) == text


def test_special_tokens_are_the_last_ids_each_one_id(tokenizer):
    assert tokenizer.get_vocab_size() == VOCABULARY
    ids = [tokenizer.token_to_id(token) for token in SPECIAL_TOKENS]
    assert ids == list(range(VOCABULARY - len(SPECIAL_TOKENS), VOCABULARY))
    assert [tokenizer.encode(token).ids for token in SPECIAL_TOKENS] == [[i] for i in ids]


def test_special_tokens_are_spelled_and_ordered_as_in_qwen():
    if not REAL.is_file():
        pytest.skip(f'{REAL} is not here, so there is nothing to compare with')
    added = json.loads(REAL.read_text(encoding='utf-8'))['added_tokens']
    assert tuple(token['content'] for token in added if token['special']) == SPECIAL_TOKENS


def test_responses_and_prompts_cost_few_ids(tokenizer):
    world = ChartWorld('test', 150, 0)
    responses = [count(tokenizer, write_response(world.think(index), world.program(index))) for index in range(len(world))]
    assert np.mean(responses) <= 45 and max(responses) <= 80
    thoughts = [count(tokenizer, world.think(index) + '\n') for index in range(len(world))]
    assert np.mean(thoughts) <= 8
    diagnoses = [count(tokenizer, world_correction(world, index).diagnosis + '\n') for index in range(len(world))]
    assert np.mean(diagnoses) <= 8
    prompts = Prompts()
    assert max(count(tokenizer, text) for text in (prompts.draw, prompts.revise, prompts.repair)) <= 25


def test_words_colours_and_digits_of_difficulty_0_are_ids_of_their_own(tokenizer):
    for table in (TITLES, X_LABELS, Y_LABELS, SERIES, COLORS):
        for word in words(table, 0):
            assert word in tokenizer.encode(f"ax.set(title='{word}')\n").tokens
    line = "ax.plot([3, 7, 12], color='red', label='Old')\n"
    decoded = [tokenizer.decode([i]) for i in tokenizer.encode(line).ids]
    assert decoded == ['ax.plot([', '3', ', 7', ', 1', '2', "], color='", 'red', "', label='", 'Old', "')\n"]


def test_the_shipped_tokenizer_is_what_training_writes(tokenizer):
    shipped, trained = (json.loads(found.to_str())['model'] for found in (tokenizer, train()))
    remedy = 'run `python -m recoder_jax.data.tiny_tokenizer recoder_jax/dialogue/tiny_tokenizer`'
    assert trained['vocab'] == shipped['vocab'] and trained['merges'] == shipped['merges'], remedy


def test_an_output_directory_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / 'file').write_text('')
    command = [sys.executable, '-m', 'recoder_jax.data.tiny_tokenizer', str(tmp_path / 'file')]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).resolve().parents[1])
    assert done.returncode == 2 and done.stderr.count('\n') == 1 and 'cannot be written' in done.stderr
