"""Writes `report.html` of a run, or of a chain of runs such as SFT, corrections, stage 1, stage 2.

    python -m recoder_jax.report RUN [RUN ...] [--out report.html]
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
import sys

from recoder_jax.charts.scores import same_program
from recoder_jax.doors import door
from recoder_jax.evaluation.metrics import low_level_difference
from recoder_jax.runs.directory import RunDirectory
from recoder_jax.runs.report import Comparison, write_report


def build(runs: Sequence[str | Path], out: str | Path | None = None, *, title: str | None = None,
          dialogue_limit: int = 4_000) -> Path:
    """Writes the report of `runs` and returns its path; see `runs.report.write_report`."""
    return write_report(runs, out, title=title, comparisons=comparisons_of(runs), dialogue_limit=dialogue_limit,
                        same_program=same_program)


def comparisons_of(runs: Sequence[str | Path]) -> list[Comparison]:
    """Low-level of the last turn of every evaluated run over that of the first, where both saw the same charts."""
    evaluations = [(run.name, run.read_evaluation()) for run in map(RunDirectory.existing, runs)]
    evaluated = [(name, evaluation) for name, evaluation in evaluations if evaluation is not None]
    comparisons = []
    for name, evaluation in evaluated[1:]:
        first_name, first = evaluated[0]
        if {result.chart for result in evaluation.results} == {result.chart for result in first.results}:
            difference = low_level_difference(first.results, evaluation.results)
            comparisons.append(Comparison(f'{name} over {first_name}', difference))
    return comparisons


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog='python -m recoder_jax.report', description=__doc__.split('\n')[0])
    parser.add_argument('runs', nargs='+', metavar='RUN', help='run directories, in the order of the chain')
    parser.add_argument('--out', help='the HTML file (default: in the run, or beside several runs)')
    parser.add_argument('--title', help='title of the page (default: names of the runs)')
    parser.add_argument('--dialogues', type=int, default=4_000, metavar='N',
                        help='at most how many dialogues the page carries, spread evenly over the steps (default: 4000)')
    options = parser.parse_args(arguments)
    return door('report', lambda: print(build(options.runs, options.out, title=options.title, dialogue_limit=options.dialogues)))


if __name__ == '__main__':
    sys.exit(main())
