"""`chart_world` and `chart_world_corrections`: the synthetic world executed and stored.

A chart of the world is its program; the image is what executing it draws. A correction is kept when its flawed program is worse than
the golden one by more than MIN_GAIN in low-level score, the threshold the paper keeps its dialogues by.
"""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from tqdm import tqdm

from recoder_jax.charts.chart import Chart
from recoder_jax.charts.sandbox import Sandbox
from recoder_jax.charts.scores import rule_score
from recoder_jax.data.builders import ChartRecord, CorrectionRecord
from recoder_jax.data.building import Built, Request, Tally, build, failure_reason, find_standing, in_order
from recoder_jax.data.chart_world import ChartWorld
from recoder_jax.data.corrections import world_correction

CHARTS, CORRECTIONS = 'chart_world', 'chart_world_corrections'
MIN_GAIN = 0.02
LICENCE = 'Apache-2.0'
FINGERPRINT_CHARTS = 32


def prepare_world(out: str | Path, sizes: Mapping[str, int], difficulty: int, workers: int) -> Built:
    """Builds the charts set of one difficulty; `sizes` maps 'train', 'validation', 'test' to numbers of charts, each at least 1."""
    worlds = _worlds(sizes, difficulty)
    request = Request(
        name=CHARTS,
        config=f'difficulty_{difficulty}',
        form='charts',
        arguments={**sizes, 'difficulty': difficulty, 'programs_sha256': _fingerprint(worlds)},
        description='Synthetic charts with golden programs: deterministic by index, splits disjoint as programs.',
        licence=LICENCE,
        origin='recoder_jax.data.chart_world',
    )
    tally = Tally()
    return _build(request, out, worlds, workers, tally, _charts)


def prepare_corrections(out: str | Path, sizes: Mapping[str, int], difficulty: int, workers: int) -> Built:
    """Builds the two-turn corrections of the same charts; a split keeps at most the number given."""
    worlds = _worlds(sizes, difficulty)
    request = Request(
        name=CORRECTIONS,
        config=f'difficulty_{difficulty}',
        form='corrections',
        arguments={**sizes, 'difficulty': difficulty, 'min_gain': MIN_GAIN, 'programs_sha256': _fingerprint(worlds, flawed=True)},
        description='Two-turn dialogues over chart_world: a flawed program, its render or error, a diagnosis, the golden program.',
        licence=LICENCE,
        origin='recoder_jax.data.chart_world, recoder_jax.data.corrections',
    )
    tally = Tally()
    return _build(request, out, worlds, workers, tally, _corrections)


def _build(request: Request, out: str | Path, worlds: Mapping[str, ChartWorld], workers: int, tally: Tally, records) -> Built:
    standing = find_standing(request, out)
    if standing:
        return standing
    with Sandbox(workers=workers) as sandbox:
        splits = {split: lambda world=world: records(sandbox, world, workers, tally) for split, world in worlds.items()}
        return build(request, splits, tally, out)


def _charts(sandbox: Sandbox, world: ChartWorld, workers: int, tally: Tally) -> Iterator[ChartRecord]:
    done = in_order(sandbox, range(len(world)), lambda index: (world.program(index),), ahead=8 * workers)
    for index, (golden,) in tqdm(done, f'{CHARTS} {world.split}', len(world), unit='chart', mininterval=1):
        if golden.ok:
            yield _chart_record(world, index, golden.render)
        else:
            tally.drop(f'golden program: {failure_reason(golden)}', _id(world, index))


def _corrections(sandbox: Sandbox, world: ChartWorld, workers: int, tally: Tally) -> Iterator[CorrectionRecord]:
    corrections = ((index, world_correction(world, index)) for index in range(len(world)))
    done = in_order(sandbox, corrections, lambda item: (world.program(item[0]), item[1].flawed), ahead=8 * workers)
    for (index, correction), (golden, flawed) in tqdm(done, f'{CORRECTIONS} {world.split}', len(world), unit='dialogue', mininterval=1):
        if not golden.ok:
            tally.drop(f'golden program: {failure_reason(golden)}', _id(world, index))
        elif 1 - rule_score(flawed, golden).low_level <= MIN_GAIN:
            tally.drop(f'the flawed program scores within {MIN_GAIN} of the golden one', _id(world, index))
        else:
            yield CorrectionRecord(
                golden=_chart_record(world, index, golden.render),
                flawed=correction.flawed,
                render=flawed.render,
                log=flawed.log,
                diagnosis=correction.diagnosis,
            )


def _chart_record(world: ChartWorld, index: int, render) -> ChartRecord:
    chart = Chart(id=_id(world, index), image=render, program=world.program(index), kind=world.kind(index))
    return ChartRecord(chart, think=world.think(index), licence=LICENCE, origin=f'recoder_jax {_id(world, index)}')


def _id(world: ChartWorld, index: int) -> str:
    return f'{CHARTS}/difficulty_{world.difficulty}/{world.split}/{index}'


def _worlds(sizes: Mapping[str, int], difficulty: int) -> dict[str, ChartWorld]:
    for split, size in sizes.items():
        if size < 1:
            raise ValueError(f'the {split} split is asked for with {size} charts; ask for at least 1')
    return {split: ChartWorld(split, size, difficulty) for split, size in sizes.items()}


def _fingerprint(worlds: Mapping[str, ChartWorld], flawed: bool = False) -> str:
    """Hash of the first programs of each split: a set written by another version of the world is not taken for this one."""
    digest = hashlib.sha256()
    for world in worlds.values():
        for index in range(min(len(world), FINGERPRINT_CHARTS)):
            digest.update(world.program(index).encode() + b'\0' + world.think(index).encode() + b'\0')
            if flawed:
                correction = world_correction(world, index)
                digest.update(correction.flawed.encode() + b'\0' + correction.diagnosis.encode() + b'\0')
    return digest.hexdigest()[:16]
