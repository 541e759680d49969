"""Data sets on disk: TFDS builders that write ArrayRecord without TensorFlow.

Two forms of record. *charts*: an image with its golden program. *corrections*: a chart, a flawed first program with what running
it gave, and the diagnosis that precedes the golden program in turn 2. Images are stored as PNG bytes. Records keep the order in
which they are given.
"""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds

from recoder_jax.charts.chart import Chart
from recoder_jax.dialogue.images import encode_png

FORMS = ('charts', 'corrections')
EXTRAS = ('instruction', 'reference', 'title', 'csv')


@dataclass(frozen=True)
class ChartRecord:
    """A chart as stored. think: thoughts of a golden response, may be empty; origin: where the program comes from."""

    chart: Chart
    think: str
    licence: str
    origin: str


@dataclass(frozen=True)
class CorrectionRecord:
    """A chart with a flawed first program: `render` uint8 [H, W, 3] when it ran, else None and `log`; `diagnosis` is the think
    text of turn 2."""

    golden: ChartRecord
    flawed: str
    render: np.ndarray | None
    log: str
    diagnosis: str


Records = Callable[[], Iterator[ChartRecord | CorrectionRecord]]


class RecordBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Writes the records of `splits` below data_dir/name/config/version.

    form: 'charts' or 'corrections'. splits: split name -> a function that starts its iterator of records. extras: of EXTRAS, fields of a chart
    that are stored too.
    """

    VERSION = tfds.core.Version('1.0.0')
    name = 'records'

    def __init__(self, name: str, config: str, form: str, splits: Mapping[str, Records], description: str, data_dir: Path, extras: Sequence[str] = ()):
        if form not in FORMS:
            raise ValueError(f'the record form is {form!r}; use one of {", ".join(FORMS)}')
        self.name, self._form, self._splits, self._description, self._extras = name, form, dict(splits), description, tuple(extras)
        tfds.disable_progress_bar()  # the record iterators show their own
        super().__init__(
            data_dir=str(data_dir),
            config=tfds.core.BuilderConfig(name=config, version=self.VERSION),
            file_format=tfds.core.FileFormat.ARRAY_RECORD,
        )

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=self._description,
            features=tfds.features.FeaturesDict(_features(self._form, self._extras)),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager):
        del dl_manager  # nothing is downloaded here
        return {split: self._generate_examples(records) for split, records in self._splits.items()}

    def _generate_examples(self, records: Records):
        for index, record in enumerate(records()):
            yield index, _example(record, self._extras)


def _features(form: str, extras: Sequence[str]) -> dict:
    image = tfds.features.Image(shape=(None, None, 3), dtype=np.uint8, encoding_format='png')
    features = {
        'id': tfds.features.Text(),
        'image': image,
        'program': tfds.features.Text(),
        'kind': tfds.features.Text(),
        'think': tfds.features.Text(),
        'licence': tfds.features.Text(),
        'origin': tfds.features.Text(),
    }
    features |= {name: image if name == 'reference' else tfds.features.Text() for name in extras}
    if form == 'corrections':
        features |= {
            'flawed': tfds.features.Text(),
            # PNG bytes, or none when the flawed program failed; an image feature cannot be empty
            'flawed_render': tfds.features.Tensor(shape=(), dtype=np.object_),
            'log': tfds.features.Text(),
            'diagnosis': tfds.features.Text(),
        }
    return features


def _example(record: ChartRecord | CorrectionRecord, extras: Sequence[str]) -> dict:
    golden = record.golden if isinstance(record, CorrectionRecord) else record
    example = {
        'id': golden.chart.id,
        'image': io.BytesIO(encode_png(golden.chart.image)),
        'program': golden.chart.program,
        'kind': golden.chart.kind,
        'think': golden.think,
        'licence': golden.licence,
        'origin': golden.origin,
    }
    for name in extras:
        value = getattr(golden.chart, name)
        example[name] = io.BytesIO(encode_png(value)) if name == 'reference' else value
    if isinstance(record, CorrectionRecord):
        example |= {
            'flawed': record.flawed,
            'flawed_render': b'' if record.render is None else encode_png(record.render),
            'log': record.log,
            'diagnosis': record.diagnosis,
        }
    return example
