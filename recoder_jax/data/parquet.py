"""MM-ReCoder's released data (cwbc/MM-ReCoder-Data): parquet files whose schema is not documented, so it is read.

Every leaf of the schema that holds text or bytes is looked at over the first rows, and goes by what most of its values are:

    program    Python that imports matplotlib, alone or in a fence
    image      encoded pictures
    picture    paths that end like a picture's
    id         distinct short texts or numbers in a leaf named id, index or uid
    kind       few distinct short texts in a leaf named type, kind or chart_type

A program must be found and be one leaf; `columns` names leaves where that fails. Needs pyarrow (`pip install recoder_jax[parquet]`).
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from recoder_jax.data.archives import Pictures
from recoder_jax.data.building import Built, Request, Tally
from recoder_jax.data.released import Item, Options, Splits, prepare_released
from recoder_jax.dialogue.response import parse_response

NAME = 'mm_recoder'
ROLES = ('program', 'image', 'picture', 'id', 'kind')
LOOKED_AT = 64  # rows
_MAGIC = (b'\x89PNG', b'\xff\xd8\xff', b'RIFF')
_PICTURE = re.compile(r'[^\n]{1,500}\.(png|jpe?g|webp)', re.IGNORECASE)
_MATPLOTLIB = re.compile(r'^\s*(import|from)\s+matplotlib', re.MULTILINE)


@dataclass(frozen=True)
class Leaf:
    """A place in a row, as keys; [] stands for the entries of a list."""

    keys: tuple[str, ...]

    def __str__(self) -> str:
        return '.'.join(self.keys)

    def values(self, row) -> list:
        """What stands there in a row; several values below lists."""
        found = [row]
        for key in self.keys:
            found = [below for value in found if value is not None for below in (value if key == '[]' else [value.get(key)])]
        return [value for value in found if value is not None]


def prepare_parquet(source: str, out: str, columns: Mapping[str, str], options: Options) -> Built:
    """Builds a set from one parquet file. columns: role -> leaf, such as {'program': 'reward_model.ground_truth'}, for roles not to be guessed."""
    file = Path(source)
    if not file.is_file():
        raise FileNotFoundError(f'there is no parquet file {source!r}; give one of cwbc/MM-ReCoder-Data')
    benchmark = any(name in file.stem for name in ('chartmimic', 'chartx', 'plot2code'))
    request = Request(
        name=NAME, config=re.sub(r'\W', '_', file.stem), form='charts', arguments={'columns': dict(columns)},
        description='Charts and golden programs of MM-ReCoder (arXiv 2604.01600), as released.', licence='CC-BY-NC-4.0',
        origin=f'cwbc/MM-ReCoder-Data, {file.name}',
    )  # fmt: skip
    return prepare_released(request, source, lambda _: _splits(file, columns, 'test' if benchmark else 'train'), out, options)


def _splits(file: Path, columns: Mapping[str, str], split: str) -> Splits:
    parquet = _pyarrow()
    try:
        opened = parquet.ParquetFile(file)
        first = next(opened.iter_batches(LOOKED_AT), None)
        rows = first.to_pylist() if first is not None else []
    except Exception as error:      # pyarrow raises errors of many kinds for a file that is cut off
        raise ValueError(f'{file.name} is not a whole parquet file ({type(error).__name__}); download it again') from None
    roles = find_roles(rows, columns, str(opened.schema_arrow))
    pictures = Pictures([file.parent])
    return {split: lambda tally: _items(opened, roles, pictures, file.stem, tally)}


def _pyarrow():
    try:
        import pyarrow.parquet
    except ImportError:
        raise ValueError('reading parquet needs pyarrow; pip install recoder_jax[parquet]') from None
    return pyarrow.parquet


def find_roles(rows: Sequence[dict], columns: Mapping[str, str], schema: str) -> dict[str, Leaf]:
    """Role -> leaf. ValueError, with the schema, where the program is not one leaf or a named leaf is not there."""
    leaves = leaves_of(rows)
    named = {str(leaf): leaf for leaf in leaves}
    found: dict[str, Leaf] = {}
    for role, name in columns.items():
        if role not in ROLES or name not in named:
            raise ValueError(f'--column {role}={name} names no role of {", ".join(ROLES)} or no leaf; the leaves are {", ".join(named) or "none"}')
        found[role] = named[name]
    guesses = {leaf: role_of(leaf, [value for row in rows for value in leaf.values(row)]) for leaf in leaves}
    for role in ROLES:
        fitting = [leaf for leaf, guess in guesses.items() if guess == role]
        if role == 'program' and role not in found and len(fitting) != 1:
            shown = ', '.join(map(str, fitting)) or 'no leaf'
            raise ValueError(f'the program may be {shown}; name it with --column program=LEAF. The schema: {" ".join(schema.split())[:500]}')
        if role not in found and fitting:
            found[role] = fitting[0]
    return found


def leaves_of(rows: Sequence[dict]) -> list[Leaf]:
    """Every place at which a row holds text, bytes or a whole number, in the order of its first appearance."""
    found: dict[tuple[str, ...], None] = {}

    def walk(value, keys: tuple[str, ...]) -> None:
        if isinstance(value, dict):
            for key, below in value.items():
                walk(below, (*keys, key))
        elif isinstance(value, list):
            for below in value:
                walk(below, (*keys, '[]'))
        elif isinstance(value, str | bytes | int) and keys:
            found[keys] = None

    for row in rows:
        walk(row, ())
    return [Leaf(keys) for keys in found]


def role_of(leaf: Leaf, values: Sequence) -> str:
    """The role that most values of a leaf speak for, '' for none."""
    name = next((key for key in reversed(leaf.keys) if key != '[]'), '').lower()
    texts = [value for value in values if isinstance(value, str)]
    short = len({*values}) if values and all(not isinstance(value, str | bytes) or len(value) < 200 for value in values) else 0

    def most(count: int) -> bool:
        return 2 * count > len(values)

    if most(sum(isinstance(value, bytes) and value.startswith(_MAGIC) for value in values)):
        return 'image'
    if most(sum(bool(_MATPLOTLIB.search(_program(text) or '')) for text in texts)):
        return 'program'
    if most(sum(bool(_PICTURE.fullmatch(text)) for text in texts)):
        return 'picture'
    if name in ('id', 'index', 'uid', 'example_id') and short == len(values):
        return 'id'
    return 'kind' if name in ('type', 'kind', 'chart_type') and 0 < short <= LOOKED_AT else ''


def _program(text: str) -> str | None:
    """The program of a response, or the text itself where it has no fence."""
    return parse_response(text).program if '```' in text else text


def _items(opened, roles: Mapping[str, Leaf], pictures: Pictures, stem: str, tally: Tally) -> Iterator[Item]:
    number = 0
    for batch in opened.iter_batches(LOOKED_AT):
        for row in batch.to_pylist():
            try:
                given = {role: next(iter(leaf.values(row)), None) for role, leaf in roles.items()}
                program = given['program'] and _program(given['program'])
                image = given.get('image') or (pictures.find(given['picture']) if given.get('picture') else None)
                name = number if given.get('id') is None else given['id']
                yield Item(f'{NAME}/{stem}/{name}', program, image, str(given.get('kind') or ''), origin=f'cwbc/MM-ReCoder-Data {stem} {name}')
            except (TypeError, AttributeError):
                tally.drop('record of another form', f'row {number}')
            number += 1
