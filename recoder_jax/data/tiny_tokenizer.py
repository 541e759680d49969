"""Trains the tokenizer of the tiny policy on the chart world.

    python -m recoder_jax.data.tiny_tokenizer OUT_DIR

writes tokenizer.json and tokenizer_config.json in Hugging Face form; the shipped ones stand in
recoder_jax/dialogue/tiny_tokenizer/. It is a byte-level BPE, so any text round-trips, with the special tokens of Qwen2.5-VL.

Two kinds of entries lie above the 256 bytes. *Whole pieces*: the commonest pieces that the pre-tokenizer cuts, taken as they
are (`ignore_merges` makes the model look a piece up before it merges). A line of boilerplate then costs one id and no
intermediate merges, which would fill a vocabulary of this size. *Merges*: ordinary BPE, trained on the remaining pieces, for
everything the world does not write.

The ids the policy has to decide stay apart: digits of data, and words in quotes (titles, labels, colours, names).
"""
import argparse
from collections import Counter
from itertools import zip_longest
import json
import math
from pathlib import Path
import sys
from typing import Callable, Iterable, Iterator

from tokenizers import AddedToken, decoders, models, pre_tokenizers, Regex, Tokenizer, trainers

from recoder_jax.data.chart_world import ChartWorld
from recoder_jax.data.chart_world_program import write_program, write_think
from recoder_jax.data.corrections import Correction, world_correction
from recoder_jax.dialogue.response import write_response
from recoder_jax.dialogue.turns import Prompts

SPECIAL_TOKENS = (
    '<|endoftext|>', '<|im_start|>', '<|im_end|>', '<|object_ref_start|>', '<|object_ref_end|>', '<|box_start|>',
    '<|box_end|>', '<|quad_start|>', '<|quad_end|>', '<|vision_start|>', '<|vision_end|>', '<|vision_pad|>', '<|image_pad|>',
    '<|video_pad|>')
VOCABULARY = 768         # ids in all: a multiple of 128, the width of an accelerator's lane
MERGES = 128             # of them trained by BPE
CHARTS = (2000, 1000, 1000, 1300)  # a difficulty; half of them also give a correction
LONGEST_PIECE = 160

# What stands between quotes if it is one word or two: "'Sales'", "'Annual Sales'", "'#3a7bd5'".
OPENED_WORD = r"(?<=')[#\w]\w*(?=[' ])"
CLOSED_WORD = r"[ ](?=\w+')|(?<=[ ])\w+(?=')"
DATA_DIGIT = r"(?:,[ ])?\d"
INDENTATION = r"(?<=\n)[ ]+"  # so that a line of a program is the same piece when an error log quotes it
# Everything else, up to the quote that opens a word or to the end of a line or sentence. Numbers of keyword arguments and
# offsets belong to it: "left=0.27, ", "figsize=(2.24, 2.24)", "x - 0.2".
BOILERPLATE_END = r"(?:'|\n|\.[ ](?=[A-Z]))"
BOILERPLATE = (
    r"(?:=[ ]?\(?\d[\d., ]*|[-+][ ]0\.\d+|(?!,[ ]\d|\.[ ][A-Z]|'[#\w]\w*[' ])[^\d\n])+"
    rf"{BOILERPLATE_END}?|{BOILERPLATE_END}")
PIECE = '|'.join((INDENTATION, OPENED_WORD, CLOSED_WORD, DATA_DIGIT, BOILERPLATE))

LOGS = (
    "NameError: name 'plt' is not defined", "NameError: name 'plot' is not defined. Did you mean: 'plt'?",
    "NameError: name 'plr' is not defined. Did you mean: 'plt'?", "NameError: name 'np' is not defined",
    "AttributeError: 'Axes' object has no attribute 'bars'. Did you mean: 'bar'?",
    "AttributeError: 'Axes' object has no attribute 'plott'. Did you mean: 'plot'?",
    "AttributeError: Rectangle.set() got an unexpected keyword argument 'colour'",
    "AttributeError: Line2D.set() got an unexpected keyword argument 'colour'",
    "AttributeError: PathCollection.set() got an unexpected keyword argument 'colour'",
    "TypeError: Axes.pie() got an unexpected keyword argument 'colour'",
    "ValueError: 'redish' is not a valid color value.", "ValueError: 'bluey' is not a valid value for color",
    "ValueError: 'color' kwarg must be a color or sequence of color specs.  For a sequence of values to be color-mapped, use "
    "the 'c' argument instead.",
    "ValueError: 'facecolor' or 'color' argument must be a valid color or sequence of colors.",
    "ValueError: shape mismatch: objects cannot be broadcast to a single shape.  Mismatch is between 'x' with shape (4,) and "
    "'height' with shape (3,).", "ValueError: x and y must have same first dimension, but have shapes (5,) and (4,)",
    "ValueError: x and y must be the same size", "ValueError: 'labels' must be of length 'x', not 3",
    "SyntaxError: '(' was never closed", "SyntaxError: invalid syntax. Perhaps you forgot a comma?",
    "SyntaxError: unterminated string literal (detected at line 4)", "IndentationError: unexpected indent",
)


def train(charts: tuple[int, int, int, int] = CHARTS) -> Tokenizer:
    """Trains on `charts` charts of each difficulty. The same charts give the same tokenizer."""
    return trained_on(corpus(charts), PIECE)


def trained_on(texts: Iterable[tuple[str, int]], piece_form: str) -> Tokenizer:
    """A tokenizer for texts, (text, how often it counts) each, that are cut into pieces of a form."""
    cutter = pre_tokenizers.Split(Regex(piece_form), 'isolated')
    pieces = Counter()
    for text, times in texts:
        for piece, _ in cutter.pre_tokenize_str(text):
            pieces[piece] += times
    whole = whole_pieces(pieces)
    kept = set(whole[:VOCABULARY - len(SPECIAL_TOKENS) - 256 - MERGES])
    base = train_merges(Counter({piece: count for piece, count in pieces.items() if piece not in kept}))
    return assemble(base, whole, cutter)


def corpus(charts: tuple[int, ...]) -> Iterator[tuple[str, int]]:
    """(text, how often it counts): responses of all difficulties, corrections, the frame of a dialogue, prompts, error logs."""
    responses = 0
    for difficulty, size in enumerate(charts):
        world = ChartWorld('train', size, difficulty)
        for index in range(size):
            spec = world.spec(index)
            program = write_program(spec)
            yield write_response(write_think(spec), program), 1
            responses += 1
            if index % 2:
                correction = world_correction(world, index)
                yield write_response(correction.diagnosis, program), 1
                if correction.error:
                    yield correction.flawed, 1
                    yield error_log(correction, program, index), 1
    prompts = Prompts()
    for text in ('system\n', 'You are a helpful assistant.', 'user\n', 'assistant\n', prompts.draw, prompts.revise,
                 *prompts.repair.split('{log}')):
        yield text, responses
    for log in LOGS:
        yield log, 1


def error_log(correction: Correction, golden: str, index: int) -> str:
    """The log of a flawed program in the sandbox's form; the wording of the error is one of LOGS."""
    lines = list(zip_longest(correction.flawed.split('\n'), golden.split('\n')))
    number = next(number for number, (flawed, right) in enumerate(lines, 1) if flawed != right)
    messages = [log for log in LOGS if log.startswith(correction.error)]
    place = f'  File "program.py", line {number}'
    marks = ' ' * (index % 16) + '^' * (index % 8 + 1)
    quoted = f'\n    {lines[number - 1][0]}\n    {marks}\n{messages[index // 2 % len(messages)]}'
    if correction.error == 'SyntaxError':
        return place + quoted
    return f'Traceback (most recent call last):\n{place}, in <module>{quoted}'


def whole_pieces(pieces: Counter) -> list[str]:
    """Pieces of more than one character, the commonest first, ties in alphabetical order."""
    usable = [piece for piece in pieces if 1 < len(piece) <= LONGEST_PIECE]
    return sorted(usable, key=lambda piece: (-pieces[piece], piece))


def train_merges(pieces: Counter) -> Tokenizer:
    """Plain byte-level BPE over pieces, each damped to the square root of its count so that rare text is seen too."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(r'\n|\d'), 'isolated'), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)])
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=256 + MERGES, min_frequency=2, initial_alphabet=alphabet, show_progress=False)
    texts = (piece for piece in sorted(pieces) for _ in range(math.isqrt(pieces[piece]) + 1))
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def assemble(base: Tokenizer, whole: list[str], cutter: pre_tokenizers.PreTokenizer) -> Tokenizer:
    """Bytes and merges first, then whole pieces until the vocabulary is full, then the special tokens as the last ids."""
    merges = [tuple(merge) for merge in json.loads(base.to_str())['model']['merges']]
    vocabulary = dict(sorted(base.get_vocab().items(), key=lambda item: item[1]))
    to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    for piece in whole:
        if len(vocabulary) == VOCABULARY - len(SPECIAL_TOKENS):
            break
        (text, _), = to_bytes.pre_tokenize_str(piece)
        vocabulary.setdefault(text, len(vocabulary))
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([cutter, to_bytes])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS])
    return tokenizer


def save(tokenizer: Tokenizer, directory: Path) -> None:
    """Writes the two files of a Hugging Face tokenizer directory, which must be there."""
    (directory / 'tokenizer.json').write_text(tokenizer.to_str(pretty=True) + '\n', encoding='utf-8')
    config = {
        'tokenizer_class': 'PreTrainedTokenizerFast', 'model_max_length': 4096, 'clean_up_tokenization_spaces': False,
        'eos_token': '<|im_end|>', 'pad_token': '<|endoftext|>', 'additional_special_tokens': list(SPECIAL_TOKENS[1:]),
    }
    (directory / 'tokenizer_config.json').write_text(json.dumps(config, indent=1) + '\n', encoding='utf-8')


def main(arguments: list[str], training: Callable[[], Tokenizer] = train, name: str = 'tiny_tokenizer') -> int:
    parser = argparse.ArgumentParser(prog=f'python -m recoder_jax.data.{name}', description='Trains the tokenizer of a tiny policy.')
    parser.add_argument('out', type=Path, metavar='OUT_DIR', help='where tokenizer.json and tokenizer_config.json are written')
    out = parser.parse_args(arguments).out
    try:
        out.mkdir(parents=True, exist_ok=True)
        save(training(), out)
    except OSError as error:
        print(f'{out} cannot be written ({error.strerror}): choose a directory that can.', file=sys.stderr)
        return 2
    print(f'wrote {out}/tokenizer.json with {VOCABULARY} ids')
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
