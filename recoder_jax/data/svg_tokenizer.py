r"""Trains the tokenizer of the tiny policy that writes SVG documents, in the way of tiny_tokenizer.py.

    python -m recoder_jax.data.svg_tokenizer OUT_DIR

The shipped one stands in recoder_jax/dialogue/tiny_svg_tokenizer/. What the policy has to decide are ids of their own: digits of data, words,
colours. The tags around them, with the numbers that the layout fixes, are whole pieces.
"""
import sys
from typing import Iterator

from tokenizers import Tokenizer

from recoder_jax.data.chart_world_program import write_think
from recoder_jax.data.svg_program import write_svg
from recoder_jax.data.svg_world import SvgWorld, svg_correction
from recoder_jax.data.tiny_tokenizer import main, trained_on
from recoder_jax.dialogue.response import write_response
from recoder_jax.dialogue.turns import prompts_of
from recoder_jax.languages.svg import LANGUAGE

CHARTS = 2500  # half of them also give a correction
LOGS = ('mismatched tag', 'not well-formed (invalid token)', 'the svg element has no size; give it a width and a height, or a viewBox',
        'no svg block found in the response', 'duplicate attribute', 'syntax error', 'unclosed token', 'no element found')

PIECE = '|'.join((
    r"<svg[^\n]*\n|<g [^\n]*\n|</(?:text|svg|g)>\n",
    r"<path d='M0 9\.5V0H9\.5'/>\n|<path d='M0 3h9M0 6h9[^\n]*\n|<path d='M\d \dh2' opacity='\.|<path d='|<circle r='[\d.]+' stroke='",
    r"<text [^>\n]*?(?:fill='|>)",
    r"(?<=>)[A-Za-z]\w*(?=<)|(?<=')[A-Za-z]\w*(?=')",           # words of texts, words in quotes
    r"[ML]\d 0v|M0 \dh|[ML]\d |h\.4|h0",                       # places of bars, points and marks
    r"' stroke-dasharray='(?=\d)| 99' stroke-dashoffset='-|' stroke='|' stroke-[^\n]*\n|'/>\n|'>",
    r"line (?=\d)|\d",
    r"(?:[^\n\d'<]|(?<! )')[^\n\d'<]*['\n]?|[\s\S]"))              # prose, up to a quote or the end of a line


def train(charts: int = CHARTS) -> Tokenizer:
    """The same number of charts gives the same tokenizer."""
    return trained_on(corpus(charts), PIECE)


def corpus(charts: int) -> Iterator[tuple[str, int]]:
    """(text, how often it counts): responses, corrections, logs of flawed documents, the frame of a dialogue, prompts."""
    world = SvgWorld('train', charts, 0)
    for index in range(charts):
        spec = world.spec(index)
        document = write_svg(spec)
        yield write_response(write_think(spec), document, LANGUAGE), 1
        if index % 2:
            correction = svg_correction(world, index)
            yield write_response(correction.diagnosis, document, LANGUAGE), 1
            if correction.error:
                lines = correction.flawed.split('\n')
                number = index % len(lines)
                yield f'line {number + 1}: {lines[number][:80]}\n{LOGS[index // 2 % 3]}', 1
    prompts = prompts_of(LANGUAGE)
    for text in ('system\n', 'You are a helpful assistant.', 'user\n', 'assistant\n', prompts.draw, prompts.revise, *prompts.repair.split('{log}')):
        yield text, charts
    for log in LOGS:
        yield log, 1


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:], train, 'svg_tokenizer'))
