"""Random access to data sets in the layout that `prepare` writes. Images are decoded when an item is asked for, never earlier."""

import io
import json
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from recoder_jax.charts.canonical import has_flat_data
from recoder_jax.charts.chart import Chart
from recoder_jax.data.builders import EXTRAS
from recoder_jax.data.building import REQUEST_FILE
from recoder_jax.data.examples import Example
from recoder_jax.dialogue.response import write_response
from recoder_jax.languages.language import Language, find

TRAINED = ('last', 'all')
WORLDS = ('chart_world', 'chart_world_corrections', 'svg_world', 'svg_world_corrections')  # sets that `prepare` makes from nothing
PREPARED = (*WORLDS, 'mpl_gallery', 'chart2code_160k', 'mm_recoder', 'chartmimic', 'plot2code', 'chartx')  # sets that it builds


def open_charts(data_dir: str | Path, name: str, split: str, keep: str = 'all', language: str = 'python') -> Sequence[Chart]:
    """The charts of one split.

    name: 'chart_world', or 'chart_world/difficulty_1' when several configurations stand. split: 'train', 'validation', 'test', or a
    TFDS expression such as 'train[:100]'. keep: 'all', or 'flat', those whose program has flat data (`charts/canonical`), for which
    every program of the split is read once. language: of the programs. Raises FileNotFoundError when the set is not there, ValueError for
    an unknown or empty split, for programs of another language, and where no chart is kept.
    """
    check_language(data_dir, name, language)
    charts = _Charts(_directory(data_dir, name), split)
    if keep == 'all':
        return charts
    kept = [index for index in range(len(charts)) if has_flat_data(charts.program(index))]
    if not kept:
        raise ValueError(f'none of the {len(charts)} programs of {name!r}, split {split!r}, has flat data; set data.keep to all')
    return _Chosen(charts, kept)


def open_examples(data_dir: str | Path, name: str, split: str, trained: str = 'last') -> Sequence[Example]:
    """SFT dialogues of one split: one turn per record of a charts set, two turns per record of a corrections set.

    trained: 'last' puts the loss on the last turn only, 'all' on every turn. Names, splits and errors as in `open_charts`.
    """
    if trained not in TRAINED:
        raise ValueError(f'trained is {trained!r}; use one of {", ".join(TRAINED)}')
    directory = _directory(data_dir, name)
    request = _request(directory)
    language = find(request.get('language', 'python'))
    return _Corrections(directory, split, language, trained) if request['form'] == 'corrections' else _SingleTurns(directory, split, language)


def check_language(data_dir: str | Path, name: str, language: str) -> None:
    """Raises ValueError where the programs of a set are of another language; a set that names none has python programs."""
    found = _request(_directory(data_dir, name)).get('language', 'python')
    if found != language:
        raise ValueError(f'the programs of {name!r} are in {found}, not {language}; set data.language to {found} or choose another set')


def _request(directory: Path) -> dict:
    return json.loads((directory / REQUEST_FILE).read_text(encoding='utf-8'))


def join(sources: Sequence[Sequence]) -> Sequence:
    """Several sources one after the other, so that a shuffled pipeline mixes them in proportion to their sizes."""
    return sources[0] if len(sources) == 1 else _Joined(sources)


class _Joined(Sequence):
    def __init__(self, sources: Sequence[Sequence]):
        self._sources = tuple(sources)
        self._ends = np.cumsum([len(source) for source in sources])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, index: int):
        index = range(len(self))[index]
        which = int(np.searchsorted(self._ends, index, side='right'))
        return self._sources[which][index - (self._ends[which - 1] if which else 0)]


class _Records(Sequence):
    """Records of one split as dictionaries of undecoded bytes; sub-classes turn one into an item."""

    def __init__(self, directory: Path, split: str):
        builder, self._place = tfds.builder_from_directory(str(directory)), f'split {split!r} of {str(directory)!r}'
        skipped = {name: tfds.decode.SkipDecoding() for name in ('image', 'reference') if name in builder.info.features}
        try:
            self._source = builder.as_data_source(split=split, decoders=skipped)
            length = len(self._source)
        except (ValueError, KeyError, AssertionError):
            raise ValueError(f'{str(directory)!r} has no split {split!r}; it has {", ".join(builder.info.splits)}') from None
        if not length:
            raise ValueError(f'split {split!r} of {str(directory)!r} is empty; ask for more charts')

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int):
        index = range(len(self))[index]  # negative counts from the end; IndexError beyond it
        try:
            return self._item(self._source[index])
        except Exception as error:  # array_record and the decoders raise what they like; from a worker thread it comes out where its batch is waited for
            raise ValueError(f'record {index} of {self._place} cannot be read ({_said(error)}); prepare the set again') from error

    @abstractmethod
    def _item(self, record: dict):
        """A record as what the data set is a sequence of."""


class _Charts(_Records):
    def _item(self, record: dict) -> Chart:
        return _chart(record)

    def program(self, index: int) -> str:
        """The golden program of a chart, whose image is left undecoded."""
        return _text(self._source[index], 'program')


class _Chosen(Sequence):
    """Some items of a source, by index."""

    def __init__(self, source: Sequence, indices: Sequence[int]):
        self._source, self._indices = source, indices

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int):
        return self._source[self._indices[index]]


class _SingleTurns(_Records):
    def __init__(self, directory: Path, split: str, language: Language):
        super().__init__(directory, split)
        self._language = language

    def _item(self, record: dict) -> Example:
        response = write_response(_text(record, 'think'), _text(record, 'program'), self._language)
        return Example(chart=_chart(record), responses=(response,), trained=(True,), feedbacks=(), language=self._language.name)


class _Corrections(_Records):
    def __init__(self, directory: Path, split: str, language: Language, trained: str):
        super().__init__(directory, split)
        self._language = language
        self._trained = (trained == 'all', True)

    def _item(self, record: dict) -> Example:
        responses = (
            write_response(_text(record, 'think'), _text(record, 'flawed'), self._language),
            write_response(_text(record, 'diagnosis'), _text(record, 'program'), self._language),
        )
        render = _decode(record['flawed_render']) if record['flawed_render'] else None
        feedback = (render, _text(record, 'log'))
        return Example(_chart(record), responses, self._trained, (feedback,), self._language.name)


def _said(error: Exception) -> str:
    """Kind and beginning of an error, on one line."""
    return f'{type(error).__name__}: {" ".join(str(error).split())[:120]}'


def _chart(record: dict) -> Chart:
    extras = {name: _decode(record[name]) if name == 'reference' else _text(record, name) for name in EXTRAS if name in record}
    return Chart(id=_text(record, 'id'), image=_decode(record['image']), program=_text(record, 'program'), kind=_text(record, 'kind'), **extras)


def _text(record: dict, key: str) -> str:
    return record[key].decode('utf-8')


def _decode(png: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(png)) as image:
        return np.array(image.convert('RGB'))


def _directory(data_dir: str | Path, name: str) -> Path:
    """The newest version of the set `name` or `name/config`."""
    base, _, config = name.partition('/')
    source = '' if base in WORLDS else ' --source=download' if base == 'mpl_gallery' else ' --source=DOWNLOADED'
    remedy = f'build it with `python -m recoder_jax.prepare {base}{source} --out {data_dir}`'
    if base not in PREPARED:
        remedy = 'put one there in the layout that prepare writes'
    found = sorted(Path(data_dir, base).glob(f'{config or "*"}/*/{REQUEST_FILE}'))
    if not found:
        raise FileNotFoundError(f'there is no data set {name!r} in {str(data_dir)!r}; {remedy}')
    configs = sorted({file.parent.parent.name for file in found})
    if len(configs) > 1:
        raise ValueError(f'{str(data_dir)!r} holds several sets {base!r}; name one of ' + ', '.join(f'{base}/{c}' for c in configs))
    return found[-1].parent
