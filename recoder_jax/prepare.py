"""Builds data sets: `python -m recoder_jax.prepare NAME --out DATA ...`, and looks for charts that two sets share.

    python -m recoder_jax.prepare chart_world --out data
    python -m recoder_jax.prepare chart2code_160k --source downloads/Chart2Code-160k --variant direct --verify fixed --out data
    python -m recoder_jax.prepare leakage chart2code_160k:train chartmimic:test --data data --out leaks.json

A finished set is left alone when it is asked for again with the same arguments. Exit code 2 and one sentence for bad input.
"""

import argparse
import json
import os
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from recoder_jax.charts.execution import Limits
from recoder_jax.data.benchmarks import SUBSETS, prepare_chartmimic, prepare_chartx, prepare_plot2code
from recoder_jax.data.building import Built
from recoder_jax.data.chart2code import FILES, prepare_chart2code
from recoder_jax.data.leakage import NEAR, find_leaks
from recoder_jax.data.mpl_gallery import prepare_gallery
from recoder_jax.data.parquet import ROLES, prepare_parquet
from recoder_jax.data.released import VERIFY, Options
from recoder_jax.data.sources import WORLDS, open_charts
from recoder_jax.data.world_sets import SVG_WORLD, WORLD, World, prepare_corrections, prepare_world
from recoder_jax.doors import door

SPLITS = ('train', 'validation', 'test')
SHOWN = 10  # leaks that are printed
_DEFAULTS = {'formatter_class': argparse.ArgumentDefaultsHelpFormatter}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the door; returns the exit code."""
    arguments = _parser().parse_args(argv)
    return door('prepare', lambda: arguments.act(arguments))


def _prepare(arguments: argparse.Namespace) -> None:
    if arguments.workers < 1:
        raise ValueError(f'--workers is {arguments.workers}; give at least 1')
    print(_summary(arguments.data_set, arguments.run(arguments)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog='python -m recoder_jax.prepare', description='Build a data set (ArrayRecord, with a data card).')
    data_sets = parser.add_subparsers(dest='data_set', required=True)
    _add_worlds(data_sets)
    gallery = data_sets.add_parser('mpl_gallery', help="real charts: the scripts of matplotlib's gallery", **_DEFAULTS)
    gallery.add_argument('--source', required=True, help="matplotlib's source archive, its unpacked directory, or 'download'")
    gallery.set_defaults(run=_gallery)
    _add_released(data_sets)
    for name, data_set in data_sets.choices.items():
        data_set.set_defaults(act=_prepare)
        data_set.add_argument('--out', required=True, help='directory of data sets; the set gets a directory of its own in it')
        data_set.add_argument('--workers', type=int, default=max(1, os.cpu_count() or 1), help='programs that run at the same time')
        if name not in WORLDS:
            data_set.add_argument('--seconds', type=float, default=20.0, help='time limit of one program')
    leakage = data_sets.add_parser('leakage', help='charts that two prepared sets share, by program, pixels and looks', **_DEFAULTS)
    for name in ('first', 'second'):
        leakage.add_argument(name, metavar='NAME:SPLIT', help='a prepared set and its split, such as chartmimic:test')
    leakage.add_argument('--data', required=True, help='directory of data sets')
    leakage.add_argument('--near', type=int, default=NEAR, help='of 256 bits: pictures that differ in at most so many look alike')
    leakage.add_argument('--out', default='', help='JSON file for all pairs')
    leakage.set_defaults(act=_leakage)
    return parser


def _add_worlds(data_sets) -> None:
    worlds = {
        'chart_world': (prepare_world, WORLD, 'synthetic charts with golden programs'),
        'chart_world_corrections': (prepare_corrections, WORLD, 'two-turn dialogues: flawed program, feedback, golden program'),
        'svg_world': (prepare_world, SVG_WORLD, 'the same charts as SVG documents, of difficulty 0'),
        'svg_world_corrections': (prepare_corrections, SVG_WORLD, 'two-turn dialogues over svg_world'),
    }
    for name, (prepare, drawn, text) in worlds.items():
        world = data_sets.add_parser(name, help=text, **_DEFAULTS)
        for split, size in zip(SPLITS, (6000, 256, 256)):
            world.add_argument(f'--{split}', type=int, default=size, help=f'charts in the {split} split')
        world.add_argument('--difficulty', type=int, default=0, help='0 (few words and colours) to 3')
        world.set_defaults(run=lambda arguments, prepare=prepare, drawn=drawn: _world(arguments, prepare, drawn))


def _add_released(data_sets) -> None:
    def add(name: str, text: str, source: str, run, missing: str = 'drop') -> argparse.ArgumentParser:
        data_set = data_sets.add_parser(name, help=text, **_DEFAULTS)
        data_set.add_argument('--source', required=True, help=source)
        data_set.add_argument('--verify', choices=VERIFY, default='none',
                              help='execute golden programs; drop those that fail or do not score 1.0 against themselves in this score mode')
        data_set.add_argument('--missing-image', choices=('drop', 'render'), default=missing, help='what a record without an image gets')
        data_set.set_defaults(run=lambda arguments: run(arguments, _options(arguments)))
        return data_set

    add('chart2code_160k', 'Chart2Code-160k', 'directory of json.tar.gz and images.tar.gz, or of what they unpack to',
        lambda a, options: prepare_chart2code(a.source, a.out, a.variant, options)).add_argument(
            '--variant', choices=tuple(FILES), default='direct', help='direct answers, or four steps of thought')  # fmt: skip
    add('mm_recoder', "MM-ReCoder's released data", 'one of its parquet files, pictures beside it',
        lambda a, options: prepare_parquet(a.source, a.out, _columns(a.column), options), 'render').add_argument(
            '--column', action='append', default=[], metavar='ROLE=LEAF', help=f'place of {", ".join(ROLES)} where it is not found')  # fmt: skip
    mimic = add('chartmimic', 'ChartMimic, both layouts', "test.tar.gz or the directory of ChartMimic's data",
                lambda a, options: prepare_chartmimic(a.source, a.out, a.task, a.subset, options))  # fmt: skip
    mimic.add_argument('--task', choices=tuple(SUBSETS), default='direct', help='whose golden figures are the targets')
    mimic.add_argument('--subset', default='', help='its directory, where the source holds several: ' + ', '.join(name for names in SUBSETS.values() for name in names))
    add('plot2code', 'Plot2Code for matplotlib', 'its python_matplotlib directory', lambda a, options: prepare_plot2code(a.source, a.out, options))
    add('chartx', 'ChartX', 'directory of ChartX_annotation.json and the pictures', lambda a, options: prepare_chartx(a.source, a.out, options))


def _options(arguments: argparse.Namespace) -> Options:
    return Options(arguments.verify, arguments.missing_image == 'render', arguments.workers, Limits(seconds=arguments.seconds))


def _columns(given: Sequence[str]) -> dict[str, str]:
    wrong = [entry for entry in given if '=' not in entry]
    if wrong:
        raise ValueError(f'--column is {wrong[0]!r}; write ROLE=LEAF, such as program=reward_model.ground_truth')
    return dict(entry.split('=', 1) for entry in given)


def _world(arguments: argparse.Namespace, prepare, world: World) -> Built:
    sizes = {'train': arguments.train, 'validation': arguments.validation, 'test': arguments.test}
    return prepare(arguments.out, sizes, arguments.difficulty, arguments.workers, world)


def _gallery(arguments: argparse.Namespace) -> Built:
    return prepare_gallery(arguments.source, arguments.out, arguments.workers, Limits(seconds=arguments.seconds))


def _summary(data_set: str, built: Built) -> str:
    counts = ', '.join(f'{split} {count}' for split, count in built.counts.items())
    dropped = f'; dropped {sum(built.drops.values())}' if built.drops else ''
    return f'{data_set}: {counts}{dropped}; {"stands already in" if built.stood_already else "written to"} {built.directory}'


def _leakage(arguments: argparse.Namespace) -> None:
    sets = []
    for name in (arguments.first, arguments.second):
        base, _, split = name.partition(':')
        if not split:
            raise ValueError(f'{name!r} names no split; write NAME:SPLIT, such as chartmimic:test')
        sets.append(open_charts(arguments.data, base, split))
    pairs = find_leaks(*sets, near=arguments.near)
    if arguments.out:
        Path(arguments.out).write_text(json.dumps([asdict(pair) for pair in pairs], indent=1) + '\n', encoding='utf-8')
    for pair in pairs[:SHOWN]:
        print(f'{pair.same}, {pair.bits} bits apart: {pair.first}, {pair.second}')
    counts = Counter(pair.same for pair in pairs)
    print(f'{arguments.first} ({len(sets[0])}) and {arguments.second} ({len(sets[1])}): same program {counts["program"]}, same picture {counts["picture"]}, look alike {counts["looks"]}')


if __name__ == '__main__':
    sys.exit(main())
