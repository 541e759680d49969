"""Chart2Code-160k (xxxllz/Chart2Code-160k on the Hugging Face hub): LLaVA records in json.tar.gz, pictures in images.tar.gz.

    json/chart2code.json, chart2code_sot.json: [{"id": ..., "image": path, "conversations": [{"from": "human", "value": ...}, {"from": "gpt", "value": ...}]}]

The answer holds the program in a ```python fence; that of the variant `sot` (four steps of thought) holds steps before it, and about 680 of its
fences are broken in the first release: a program is taken from them where one can be read, and counted as repaired.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

from recoder_jax.data.archives import Pictures, find_file
from recoder_jax.data.building import Built, Request, Tally
from recoder_jax.data.released import Item, Options, Splits, prepare_released
from recoder_jax.dialogue.response import CLOSE_TAG, OPEN_TAG, parse_response

NAME = 'chart2code_160k'
FILES = {'direct': 'chart2code.json', 'sot': 'chart2code_sot.json'}
_CLOSED = re.compile(r'^[ \t]*```python[ \t]*\r?\n.*?^[ \t]*```[ \t]*\r?$', re.DOTALL | re.MULTILINE)


def prepare_chart2code(source: str, out: str, variant: str, options: Options) -> Built:
    """Builds the set from the directory that holds json.tar.gz and images.tar.gz, or what they unpack to. variant: 'direct' or 'sot'."""
    request = Request(
        name=NAME, config=variant, form='charts', arguments={'variant': variant},
        description='Charts with the programs that drew them, written by a language model from seed templates and executed.',
        licence='as xxxllz/Chart2Code-160k states it', origin=f'xxxllz/Chart2Code-160k, {FILES[variant]}',
    )  # fmt: skip
    return prepare_released(request, source, lambda directories: _splits(directories, variant), out, options)


def _splits(directories: list[Path], variant: str) -> Splits:
    file = find_file(directories, FILES[variant])
    if file is None:
        raise FileNotFoundError(f'the source holds no {FILES[variant]}, or its json.tar.gz is not whole; give the directory of json.tar.gz and images.tar.gz')
    records, pictures = read_records(file), Pictures(directories)
    return {'train': lambda tally: _items(records, pictures, variant, tally)}


def read_records(file: Path) -> list:
    """The JSON array of a file. ValueError where it is not whole or no array."""
    try:
        records = json.loads(file.read_text(encoding='utf-8', errors='surrogateescape'))
    except (ValueError, RecursionError):
        raise ValueError(f'{file.name} is not whole JSON; download it again') from None
    if not isinstance(records, list):
        raise ValueError(f'{file.name} holds no array of records; give the published file')
    return records


def _items(records: list, pictures: Pictures, variant: str, tally: Tally) -> Iterator[Item]:
    for number, record in enumerate(records):
        try:
            name, picture = str(record['id']), pictures.find(record['image'])
            answer = next(turn['value'] for turn in reversed(record['conversations']) if turn['from'] == 'gpt')
            think, program = program_of(answer)
        except (KeyError, TypeError, AttributeError, StopIteration):
            tally.drop('record of another form', f'record {number}')
            continue
        if program is not None and not _CLOSED.search(answer):
            tally.repair('broken fence')
        yield Item(f'{NAME}/{variant}/{name}', program, picture, think=think if variant == 'sot' else '', origin=f'xxxllz/Chart2Code-160k {name}')


def program_of(answer: str) -> tuple[str, str | None]:
    """(what stands before the program, the program) of an answer; None where no program can be read."""
    program = parse_response(answer).program
    if program is None:
        return '', None
    before = answer.replace('\r\n', '\n').partition(program)[0].rpartition('```')[0]
    return before.replace(OPEN_TAG, '').replace(CLOSE_TAG, '').strip(), program
