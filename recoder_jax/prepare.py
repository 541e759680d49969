"""Builds data sets: `python -m recoder_jax.prepare {chart_world,chart_world_corrections,svg_world,svg_world_corrections,mpl_gallery} --out DATA ...`.

A finished set is left alone when it is asked for again with the same arguments. Exit code 2 and one sentence for bad input.
"""

import argparse
import os
import sys
from collections.abc import Sequence

from recoder_jax.charts.execution import Limits
from recoder_jax.data.building import Built
from recoder_jax.data.mpl_gallery import prepare_gallery
from recoder_jax.data.world_sets import SVG_WORLD, WORLD, World, prepare_corrections, prepare_world
from recoder_jax.doors import door

SPLITS = ('train', 'validation', 'test')


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the door; returns the exit code."""
    arguments = _parser().parse_args(argv)
    return door('prepare', lambda: _prepare(arguments))


def _prepare(arguments: argparse.Namespace) -> None:
    if arguments.workers < 1:
        raise ValueError(f'--workers is {arguments.workers}; give at least 1')
    print(_summary(arguments.data_set, arguments.run(arguments)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog='python -m recoder_jax.prepare', description='Build a data set (ArrayRecord, with a data card).')
    data_sets = parser.add_subparsers(dest='data_set', required=True)
    worlds = {
        'chart_world': (prepare_world, WORLD, 'synthetic charts with golden programs'),
        'chart_world_corrections': (prepare_corrections, WORLD, 'two-turn dialogues: flawed program, feedback, golden program'),
        'svg_world': (prepare_world, SVG_WORLD, 'the same charts as SVG documents, of difficulty 0'),
        'svg_world_corrections': (prepare_corrections, SVG_WORLD, 'two-turn dialogues over svg_world'),
    }
    for name, (prepare, drawn, text) in worlds.items():
        world = data_sets.add_parser(name, help=text, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
        for split, size in zip(SPLITS, (6000, 256, 256)):
            world.add_argument(f'--{split}', type=int, default=size, help=f'charts in the {split} split')
        world.add_argument('--difficulty', type=int, default=0, help='0 (few words and colours) to 3')
        world.set_defaults(run=lambda arguments, prepare=prepare, drawn=drawn: _world(arguments, prepare, drawn))
    gallery = data_sets.add_parser(
        'mpl_gallery', help="real charts: the scripts of matplotlib's gallery", formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    gallery.add_argument('--source', required=True, help="matplotlib's source archive, its unpacked directory, or 'download'")
    gallery.add_argument('--seconds', type=float, default=20.0, help='time limit of one script')
    gallery.set_defaults(run=_gallery)
    for data_set in data_sets.choices.values():
        data_set.add_argument('--out', required=True, help='directory of data sets; the set gets a directory of its own in it')
        data_set.add_argument('--workers', type=int, default=max(1, os.cpu_count() or 1), help='programs that run at the same time')
    return parser


def _world(arguments: argparse.Namespace, prepare, world: World) -> Built:
    sizes = {'train': arguments.train, 'validation': arguments.validation, 'test': arguments.test}
    return prepare(arguments.out, sizes, arguments.difficulty, arguments.workers, world)


def _gallery(arguments: argparse.Namespace) -> Built:
    return prepare_gallery(arguments.source, arguments.out, arguments.workers, Limits(seconds=arguments.seconds))


def _summary(data_set: str, built: Built) -> str:
    counts = ', '.join(f'{split} {count}' for split, count in built.counts.items())
    dropped = f'; dropped {sum(built.drops.values())}' if built.drops else ''
    return f'{data_set}: {counts}{dropped}; {"stands already in" if built.stood_already else "written to"} {built.directory}'


if __name__ == '__main__':
    sys.exit(main())
