"""`chart_world` and `chart_world_corrections`, `svg_world` and `svg_world_corrections`: the synthetic worlds executed and stored.

A chart of the world is its program; the image is what executing it draws. A correction is kept when its flawed program is worse than
the golden one by more than MIN_GAIN in low-level score, the threshold the paper keeps its dialogues by; of SVG documents, when it fails or
more than that share of the golden ink is drawn otherwise.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from recoder_jax.charts.chart import Chart
from recoder_jax.charts.execution import Execution
from recoder_jax.charts.sandbox import Sandbox
from recoder_jax.charts.scores import rule_score
from recoder_jax.data.builders import ChartRecord, CorrectionRecord
from recoder_jax.data.building import Built, Request, Tally, build, failure_reason, find_standing, in_order
from recoder_jax.data.chart_world import ChartWorld
from recoder_jax.data.corrections import Correction, world_correction
from recoder_jax.data.svg_world import SvgWorld, svg_correction

MIN_GAIN = 0.02
LICENCE = 'Apache-2.0'
FINGERPRINT_CHARTS = 32


@dataclass(frozen=True)
class World:
    """A synthetic world. name: of its set of charts. kind: makes a split. correction: of one chart. worse: by how much an execution is worse than the
    golden one, in [0, 1]. language: of its programs. origin: for the card."""

    name: str
    kind: type[ChartWorld]
    correction: Callable[[ChartWorld, int], Correction]
    worse: Callable[[Execution, Execution], float]
    language: str
    origin: str

    @property
    def corrections(self) -> str:
        return f'{self.name}_corrections'


def worse_elements(flawed: Execution, golden: Execution) -> float:
    """What the flawed program lacks in low-level score."""
    return 1 - rule_score(flawed, golden).low_level


def worse_ink(flawed: Execution, golden: Execution) -> float:
    """Share of the golden ink, what is not white, that the flawed program draws otherwise; at most 1, and 1 where it draws nothing."""
    if flawed.render is None or flawed.render.shape != golden.render.shape:
        return 1.0
    ink = (golden.render != 255).any(axis=-1).sum()
    return min(1.0, float((flawed.render != golden.render).any(axis=-1).sum() / max(ink, 1)))


WORLD = World('chart_world', ChartWorld, world_correction, worse_elements, 'python', 'recoder_jax.data.chart_world')
SVG_WORLD = World('svg_world', SvgWorld, svg_correction, worse_ink, 'svg', 'recoder_jax.data.svg_world')


def prepare_world(out: str | Path, sizes: Mapping[str, int], difficulty: int, workers: int, world: World = WORLD) -> Built:
    """Builds the charts set of one difficulty; `sizes` maps 'train', 'validation', 'test' to numbers of charts, each at least 1."""
    worlds = _worlds(world, sizes, difficulty)
    request = Request(
        name=world.name,
        config=f'difficulty_{difficulty}',
        form='charts',
        arguments={**sizes, 'difficulty': difficulty, 'programs_sha256': _fingerprint(worlds)},
        description='Synthetic charts with golden programs: deterministic by index, splits disjoint as programs.',
        licence=LICENCE,
        origin=world.origin,
        language=world.language,
    )
    return _build(request, out, worlds, workers, world, _charts)


def prepare_corrections(out: str | Path, sizes: Mapping[str, int], difficulty: int, workers: int, world: World = WORLD) -> Built:
    """Builds the two-turn corrections of the same charts; a split keeps at most the number given."""
    worlds = _worlds(world, sizes, difficulty)
    request = Request(
        name=world.corrections,
        config=f'difficulty_{difficulty}',
        form='corrections',
        arguments={**sizes, 'difficulty': difficulty, 'min_gain': MIN_GAIN, 'programs_sha256': _fingerprint(worlds, world.correction)},
        description=f'Two-turn dialogues over {world.name}: a flawed program, its render or error, a diagnosis, the golden program.',
        licence=LICENCE,
        origin=f'{world.origin}, recoder_jax.data.corrections',
        language=world.language,
    )
    return _build(request, out, worlds, workers, world, _corrections)


def _build(request: Request, out: str | Path, worlds: Mapping[str, ChartWorld], workers: int, world: World, records) -> Built:
    standing = find_standing(request, out)
    if standing:
        return standing
    tally = Tally()
    with Sandbox(workers=workers, language=world.language) as sandbox:
        splits = {name: lambda split=split: records(sandbox, world, split, workers, tally) for name, split in worlds.items()}
        return build(request, splits, tally, out)


def _charts(sandbox: Sandbox, world: World, split: ChartWorld, workers: int, tally: Tally) -> Iterator[ChartRecord]:
    done = in_order(sandbox, range(len(split)), lambda index: (split.program(index),), ahead=8 * workers)
    for index, (golden,) in tqdm(done, f'{world.name} {split.split}', len(split), unit='chart', mininterval=1):
        if golden.ok:
            yield _chart_record(world, split, index, golden.render)
        else:
            tally.drop(f'golden program: {failure_reason(golden)}', _id(world, split, index))


def _corrections(sandbox: Sandbox, world: World, split: ChartWorld, workers: int, tally: Tally) -> Iterator[CorrectionRecord]:
    corrections = ((index, world.correction(split, index)) for index in range(len(split)))
    done = in_order(sandbox, corrections, lambda item: (split.program(item[0]), item[1].flawed), ahead=8 * workers)
    for (index, correction), (golden, flawed) in tqdm(done, f'{world.corrections} {split.split}', len(split), unit='dialogue', mininterval=1):
        if not golden.ok:
            tally.drop(f'golden program: {failure_reason(golden)}', _id(world, split, index))
        elif world.worse(flawed, golden) <= MIN_GAIN:
            tally.drop(f'the flawed program scores within {MIN_GAIN} of the golden one', _id(world, split, index))
        else:
            yield CorrectionRecord(
                golden=_chart_record(world, split, index, golden.render),
                flawed=correction.flawed,
                render=flawed.render,
                log=flawed.log,
                diagnosis=correction.diagnosis,
            )


def _chart_record(world: World, split: ChartWorld, index: int, render) -> ChartRecord:
    name = _id(world, split, index)
    chart = Chart(id=name, image=render, program=split.program(index), kind=split.kind(index))
    return ChartRecord(chart, think=split.think(index), licence=LICENCE, origin=f'recoder_jax {name}')


def _id(world: World, split: ChartWorld, index: int) -> str:
    return f'{world.name}/difficulty_{split.difficulty}/{split.split}/{index}'


def _worlds(world: World, sizes: Mapping[str, int], difficulty: int) -> dict[str, ChartWorld]:
    for split, size in sizes.items():
        if size < 1:
            raise ValueError(f'the {split} split is asked for with {size} charts; ask for at least 1')
    return {split: world.kind(split, size, difficulty) for split, size in sizes.items()}


def _fingerprint(worlds: Mapping[str, ChartWorld], correction: Callable[[ChartWorld, int], Correction] | None = None) -> str:
    """Hash of the first programs of each split, and of their flawed ones: a set written by another version of the world is not taken for this one."""
    digest = hashlib.sha256()
    for split in worlds.values():
        for index in range(min(len(split), FINGERPRINT_CHARTS)):
            digest.update(split.program(index).encode() + b'\0' + split.think(index).encode() + b'\0')
            if correction:
                made = correction(split, index)
                digest.update(made.flawed.encode() + b'\0' + made.diagnosis.encode() + b'\0')
    return digest.hexdigest()[:16]
