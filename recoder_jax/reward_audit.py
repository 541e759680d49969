"""Shows what each reward part sees: charts are damaged in known ways and strengths, and every part is computed for each.

    python -m recoder_jax.reward_audit --out audit [--charts 5] [--difficulties 0 1 2 3]

Writes audit.json (every pair), audit.md (tables) and audit.png into DIR. Takes charts of the chart world. The judge has an audit of
its own, `python -m recoder_jax.judge_audit`, which puts the same damages before it.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from recoder_jax.charts.sandbox import Sandbox
from recoder_jax.data.chart_world import ChartWorld
from recoder_jax.doors import door
from recoder_jax.rewards.audit import INTACT
from recoder_jax.rewards.audit_damage import damaged_programs
from recoder_jax.rewards.part_audit import Pair, PartAudit, audit_parts, markdown, measure_pair

SHOWN = {      # part -> look of its line
    'rule': {'color': 'C0', 'marker': 's', 'markersize': 9, 'markerfacecolor': 'none', 'linewidth': 3, 'alpha': 0.8},
    'similarity': {'color': 'C1', 'marker': '^', 'linewidth': 1.5},
    'textual': {'color': 'C2', 'marker': 'o', 'markersize': 4, 'linewidth': 1.5, 'linestyle': '--'},
}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog='python -m recoder_jax.reward_audit', description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', required=True, metavar='DIR', help='where the report goes')
    parser.add_argument('--charts', type=int, default=5, help='charts of each difficulty (default: 5)')
    parser.add_argument('--difficulties', type=int, nargs='+', default=[0, 1, 2, 3], help='of the chart world (default: 0 1 2 3)')
    parser.add_argument('--split', default='test', help='of the chart world (default: test)')
    parser.add_argument('--workers', type=int, default=2, help='programs executed at once (default: 2)')
    options = parser.parse_args(arguments)
    return door('reward_audit', lambda: run(options))


def run(options: argparse.Namespace) -> None:
    if options.charts < 1 or options.workers < 1:
        raise ValueError(f'--charts is {options.charts} and --workers is {options.workers}; give at least 1')
    worlds = [ChartWorld(options.split, options.charts, difficulty) for difficulty in dict.fromkeys(options.difficulties)]
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    pairs = measure(worlds, options.workers)
    found = audit_parts(pairs)
    report = markdown(found)
    (out / 'audit.json').write_text(json.dumps(asdict(found) | {'measured': [asdict(pair) for pair in pairs]}, indent=1))
    (out / 'audit.md').write_text(report)
    draw(found, out / 'audit.png')
    print(report, flush=True)


def measure(worlds: Sequence[ChartWorld], workers: int) -> list[Pair]:
    """Every chart and every damage of it that applies. ValueError for a chart whose own program gives no figure."""
    charts = []
    for world in worlds:
        for index in range(len(world)):
            variants = [(INTACT, 0, world.program(index)), *damaged_programs(world[index])]
            charts.append((f'chart_world/difficulty_{world.difficulty}/{world.split}/{index}', variants))
    count = sum(len(variants) for _, variants in charts)
    print(f'reward_audit: {count} pairs of {len(charts)} charts', flush=True)
    pairs = []
    with Sandbox(workers=workers) as sandbox:
        executions = iter(sandbox.execute_all([program for _, variants in charts for _, _, program in variants]))
    for chart, variants in charts:
        golden, golden_program = None, variants[0][2]
        for damage, strength, program in variants:
            execution = next(executions)
            golden = golden or execution
            if not golden.ok:
                raise ValueError(f'the program of {chart} gave no figure ({golden.status.value}); check the sandbox')
            pairs.append(measure_pair(chart, damage, strength, (execution, golden), (program, golden_program)))
    return pairs


def draw(found: PartAudit, path: Path) -> None:
    """A panel a damage: the mean of each part by strength. Lines that coincide stay visible by their marks and dashes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    damages = list(found.agreement)
    columns = 3
    rows = -(-len(damages) // columns)
    figure = Figure(figsize=(3.2 * columns, 2.2 * rows + 0.6), layout='constrained')
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
    for panel, damage in zip(grid.flat, damages, strict=False):
        steps = [row for row in found.rows if row.damage in (INTACT, damage)]
        strengths = [row.strength for row in steps]
        for part, look in SHOWN.items():
            panel.plot(strengths, [row.means[part] for row in steps], label=part, **look)
        panel.set(title=damage, ylim=(-0.06, 1.06), xticks=strengths, xlim=(-0.15, max(strengths) + 0.15))
    for panel in list(grid.flat)[len(damages):]:
        panel.set_axis_off()
    figure.supxlabel('strength of the damage')
    figure.supylabel('mean value')
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc='outside upper center', ncols=len(SHOWN), frameon=False)
    figure.savefig(path, dpi=110)


if __name__ == '__main__':
    sys.exit(main())
