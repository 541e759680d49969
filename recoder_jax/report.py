"""Writes `report.html` of a run, of a chain of runs such as SFT, corrections, stage 1, stage 2, or of runs side by side.

    python -m recoder_jax.report RUN [RUN ...] [--overlay | --chain] [--rate=2.5] [--out report.html] [--mirror gs://bucket/folder]
"""

import argparse
from collections.abc import Sequence
import math
from pathlib import Path
import sys

from recoder_jax.charts.scores import same_program
from recoder_jax.doors import door
from recoder_jax.evaluation.metrics import low_level_difference
from recoder_jax.evaluation.table import format_interval, results_table
from recoder_jax.runs.costs import cost_of, money
from recoder_jax.runs.directory import RunDirectory
from recoder_jax.runs.mirror import send
from recoder_jax.runs.records import Evaluation
from recoder_jax.runs.report import Comparison, write_report


def build(runs: Sequence[str | Path], out: str | Path | None = None, *, title: str | None = None,
          dialogue_limit: int = 4_000, arrangement: str | None = None, rate: float | None = None) -> Path:
    """Writes the report of `runs` and returns its path; see `runs.report.write_report`."""
    return write_report(runs, out, title=title, comparisons=comparisons_of(runs), dialogue_limit=dialogue_limit,
                        same_program=same_program, arrangement=arrangement, rate=rate)


def evaluations_of(runs: Sequence[str | Path]) -> list[Evaluation]:
    """The evaluations that stand in the runs, in their order."""
    found = [run.read_evaluation() for run in map(RunDirectory.existing, runs)]
    return [evaluation for evaluation in found if evaluation is not None]


def comparisons_of(runs: Sequence[str | Path]) -> list[Comparison]:
    """Low-level of the last run's last turn over that of each earlier run, and over the earlier run's best turn where that is
    another one: a policy that was trained for one turn may lose everything in its second. Only runs that saw the same charts."""
    *earlier, after = evaluations_of(runs) or [None]
    comparisons = []
    for before in earlier:
        if {result.chart for result in after.results} == {result.chart for result in before.results}:
            best = max(before.turns, key=lambda scores: scores.low_level.value).turn
            for turn in dict.fromkeys((len(before.turns), best)):
                label = f'{after.name}, turn {len(after.turns)}, over {before.name}, turn {turn}'
                comparisons.append(Comparison(label, low_level_difference(before.results, after.results, turn)))
    return comparisons


def has_config(run: RunDirectory) -> bool:
    return (run.path / 'config.json').exists()


def print_results(runs: Sequence[str | Path]) -> None:
    """The table of all evaluated runs and what the later ones gained, for the terminal."""
    evaluations = evaluations_of(runs)
    if not evaluations:
        return
    turns = sorted({1, min(len(evaluation.turns) for evaluation in evaluations)})
    print(results_table(evaluations, turns=turns, intervals=True))
    seeds = ', '.join(f'{run.name} {run.read_config().get("seed", "unknown")}' for run in map(RunDirectory.existing, runs) if has_config(run))
    benchmarks = ' and '.join(dict.fromkeys(evaluation.benchmark for evaluation in evaluations))
    print(f'{benchmarks}; 95 % bootstrap intervals; evaluated with seed {evaluations[0].seeds.get("seed")}; trained with seeds: {seeds}')
    for comparison in comparisons_of(runs):
        print(f'{comparison.label}: {format_interval(comparison.difference, signed=True)} points of low-level')


def print_costs(runs: Sequence[str | Path], rate: float) -> None:
    """A line a run for the terminal."""
    for run in map(RunDirectory.existing, runs):
        cost = cost_of(run.read_metrics(), rate)
        print(f'{run.name}: {money(cost.device_hours)} device-hours of {cost.steps} steps cost {money(cost.money)}, {money(cost.step)} a step')


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog='python -m recoder_jax.report', description=__doc__.split('\n')[0])
    parser.add_argument('runs', nargs='+', metavar='RUN', help='run directories, in the order of the chain')
    arrangement = parser.add_mutually_exclusive_group()
    arrangement.add_argument('--overlay', dest='arrangement', action='store_const', const='overlay',
                             help='curves of the same metric in one panel, runs that differ only in seed as one (default: where all runs are one stage)')
    arrangement.add_argument('--chain', dest='arrangement', action='store_const', const='chain',
                             help='curves one after the other (default: where a run starts from another one, or stages differ)')
    parser.add_argument('--out', help='the HTML file (default: in the run, or beside several runs)')
    parser.add_argument('--title', help='title of the page (default: names of the runs)')
    parser.add_argument('--dialogues', type=int, default=4_000, metavar='N',
                        help='at most how many dialogues the page carries, spread evenly over the steps (default: 4000)')
    parser.add_argument('--rate', type=float, metavar='MONEY', help='what an hour of one device costs: the page says what the runs cost (default: it does not)')
    parser.add_argument('--mirror', metavar='ADDRESS', help='a folder on an object store to which the page is copied, as gs://bucket/folder')
    options = parser.parse_args(arguments)
    return door('report', lambda: _report(options))


def _report(options: argparse.Namespace) -> None:
    if options.rate is not None and not 0 < options.rate < math.inf:
        raise ValueError(f'--rate is {options.rate}; give what an hour of one device costs, a number above 0')
    out = build(options.runs, options.out, title=options.title, dialogue_limit=options.dialogues, arrangement=options.arrangement, rate=options.rate)
    print_results(options.runs)
    if options.rate is not None:
        print_costs(options.runs, options.rate)
    print(out)
    if options.mirror:
        print(send(out, options.mirror))


if __name__ == '__main__':
    sys.exit(main())
