"""An evaluation goes block of charts by block. What a block gave stays in a file, so that memory does not grow with the benchmark and an
evaluation that was stopped goes on with the block it was in.

    RUN/blocks/0000.json     scores and dialogues of charts 0 to 255, under the mark of the evaluation; their renders are in RUN/renders
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass

from tqdm import tqdm

from recoder_jax.runs.directory import RunDirectory
from recoder_jax.runs.records import ChartResult, DialogueRecord, encode_numbers

BLOCK = 256  # charts whose dialogues and renders are held at once


@dataclass(frozen=True)
class Scored:
    """Charts in their order: what they got, and their dialogues."""

    results: tuple[ChartResult, ...] = ()
    records: tuple[DialogueRecord, ...] = ()

    def __add__(self, other: 'Scored') -> 'Scored':
        return Scored(self.results + other.results, self.records + other.records)


Score = Callable[[range, Callable[[], None]], Scored | None]  # numbers of charts, called when one is played -> None where some could not be


def score_blocks(run: RunDirectory, mark: str, charts: int, score: Score, name: str) -> Scored | None:
    """All charts; blocks that stand under the mark are read, the others scored. None where one could not be.

    name: what the progress bar says.
    """
    whole, missing = Scored(), False
    with tqdm(total=charts, desc=name, unit='chart', mininterval=1.0) as progress:
        for number, start in enumerate(range(0, charts, BLOCK)):
            numbers = range(start, min(start + BLOCK, charts))
            block = _standing(run, number, mark, len(numbers))
            if block:
                progress.update(len(numbers))
            elif block := score(numbers, progress.update):
                run.write_block(number, encode_numbers({'mark': mark} | asdict(block)))
            missing = missing or block is None
            whole += block or Scored()
    return None if missing else whole


def _standing(run: RunDirectory, number: int, mark: str, count: int) -> Scored | None:
    """A block as it was written; None where it is not there, damaged, or of another mark or size."""
    content = run.read_block(number)
    try:
        if content is None or content['mark'] != mark or len(content['results']) != count:
            return None
        return Scored(tuple(map(ChartResult.from_json, content['results'])), tuple(map(DialogueRecord.from_json, content['records'])))
    except (ValueError, KeyError, TypeError):
        return None
