"""What the policy writes: thoughts in <think></think>, then one fenced block in the language of the task (languages/language.py), python by default.

A fence opens with a line that starts with three backticks and a language name (or none), and closes with a line that holds three
backticks only. `well_formed` is strict (it feeds the format reward); `program` is found leniently, so that the execution and rule
rewards also see programs in a wrong form.
"""

import re
from dataclasses import dataclass

from recoder_jax.languages.language import Language
from recoder_jax.languages.python import LANGUAGE as PYTHON

OPEN_TAG, CLOSE_TAG, FENCE = '<think>', '</think>', '```'
_OPENING = re.compile(r'[ \t]*```[ \t]*([A-Za-z0-9_+.\-]*)[ \t\r]*')


@dataclass(frozen=True)
class Response:
    """One parsed response.

    text: as written. think: the text between the tags without surrounding white space; None when there is no opening tag.
    program: the program without surrounding line breaks; None when none was found.
    well_formed: the text is <think>...</think>, then one closed block of the language with a program, under its first
        name (```python), and else only white space.
    closed: a closed block of the language stands outside of the thoughts.
    """

    text: str
    think: str | None
    program: str | None
    well_formed: bool
    closed: bool


@dataclass(frozen=True)
class _Block:
    """One fenced block: language in lower case, its text, whether its closing fence was written."""

    language: str
    program: str
    closed: bool


def parse_response(text: str, language: Language = PYTHON) -> Response:
    """Reads a response; never raises.

    The program is taken, in this order, from: the last closed block of the language, an unclosed one (the response was
    cut), the last closed block without language, an unclosed one without language, what `language.unfenced` finds (for python the text from the
    first import line on). Blocks in another language are none. Blocks
    after </think> go before blocks inside the thoughts.
    """
    think, rest = _split_think(text)
    program = _find_program(rest, language)
    if program is None and rest != text:
        program = _find_program(text, language)
    return Response(text=text, think=think, program=program, well_formed=_is_well_formed(text, language), closed=block_is_closed(text, language))


def block_is_closed(text: str, language: Language = PYTHON) -> bool:
    """Whether a block of the language with a closing fence stands in `text`, outside of the thoughts."""
    return any(block.closed and block.language in language.fences for block in _blocks(_split_think(text)[1]))


def thoughts_are_open(text: str) -> bool:
    """Whether a text that is still being written is in its thoughts, where a block is none yet."""
    return OPEN_TAG in text and CLOSE_TAG not in text


def write_response(think: str, program: str, language: Language = PYTHON) -> str:
    """The canonical text of a response; `parse_response` gives back both parts, without surrounding white space of `think` and
    without surrounding line breaks of `program`.

    Raises ValueError when a part cannot be written in this form: a think tag in `think`, a blank program, a fence line in it.
    """
    think, program = think.strip(), _clean(program)
    if OPEN_TAG in think or CLOSE_TAG in think:
        raise ValueError(f'the think text {think[:60]!r} contains a think tag; remove the tag')
    if not program.strip():
        raise ValueError('the program is blank; give a program with at least one statement')
    if any(_is_closing(line) for line in program.split('\n')):
        raise ValueError('the program has a line of three backticks, which would end its block; rewrite that line')
    return f'{OPEN_TAG}\n{think}\n{CLOSE_TAG}\n{FENCE}{language.fences[0]}\n{program}\n{FENCE}'


def _clean(program: str) -> str:
    return program.replace('\r\n', '\n').strip('\n')


def _is_closing(line: str) -> bool:
    return line.strip() == FENCE


def _split_think(text: str) -> tuple[str | None, str]:
    """(think, the text after it). An unclosed think ends at the first fence, or at the end of the text."""
    start = text.find(OPEN_TAG)
    if start < 0:
        # a closing tag alone: the opening one was forgotten, what precedes it is thought
        before, tag, after = text.partition(CLOSE_TAG)
        return (before.strip(), after) if tag else (None, text)
    body = start + len(OPEN_TAG)
    end = text.find(CLOSE_TAG, body)
    if end >= 0:
        return text[body:end].strip(), text[end + len(CLOSE_TAG):]
    fence = text.find(FENCE, body)
    return (text[body:].strip(), '') if fence < 0 else (text[body:fence].strip(), text[fence:])


def _blocks(text: str) -> list[_Block]:
    """Fenced blocks of `text` in order; a last block may be unclosed."""
    blocks, language, lines = [], None, []
    for line in text.split('\n'):
        if language is None:
            opening = _OPENING.fullmatch(line)
            if opening:
                language, lines = opening[1].lower(), []
        elif _is_closing(line):
            blocks.append(_Block(language, _clean('\n'.join(lines)), True))
            language = None
        else:
            lines.append(line)
    if language is not None:
        # models also write the closing fence behind the last statement
        program, tail, _ = '\n'.join(lines).partition(FENCE)
        blocks.append(_Block(language, _clean(program), bool(tail)))
    return blocks


def _find_program(text: str, language: Language) -> str | None:
    blocks = [block for block in _blocks(text) if block.program.strip()]
    for names in (language.fences, ('',)):
        for closed in (True, False):
            found = [block.program for block in blocks if block.language in names and block.closed == closed]
            if found:
                return found[-1]
    if FENCE in text:
        return _find_inline(text, language)
    found = language.unfenced.search(text)
    return _clean(found[0]) if found else None


def _find_inline(text: str, language: Language) -> str | None:
    """A program whose opening fence stands behind other text on its line, or shares its line with the program."""
    for name in language.inline:
        _, mark, rest = text.rpartition(FENCE + name)
        if mark and rest[:1].isspace():
            program = _clean(rest.partition(FENCE)[0]).strip(' ')
            return program if program.strip() else None
    return None


def _is_well_formed(text: str, language: Language) -> bool:
    stripped = text.strip()
    if not stripped.startswith(OPEN_TAG):
        return False
    think, tag, rest = stripped[len(OPEN_TAG):].partition(CLOSE_TAG)
    if not tag or OPEN_TAG in think:
        return False
    lines = rest.strip().split('\n')
    if len(lines) < 3 or lines[0].rstrip() != FENCE + language.fences[0] or not _is_closing(lines[-1]):
        return False
    inner = lines[1:-1]
    return any(line.strip() for line in inner) and not any(_is_closing(line) for line in inner)
