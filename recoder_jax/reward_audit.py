"""Shows what each reward part sees: charts are damaged in known ways and strengths, and every part is computed for each.

    python -m recoder_jax.reward_audit --out audit [--charts 5] [--difficulties 0 1 2 3] [--gallery data]

Writes audit.json (every pair), audit.md (tables) and audit.png into DIR. Takes charts of the chart world and, with --gallery, scripts
of matplotlib's gallery, which have tables of their own and gallery.png. The judge has an audit of its own,
`python -m recoder_jax.judge_audit`, which puts the damages of the chart world before it.
"""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from recoder_jax.charts.execution import Execution, Limits
from recoder_jax.charts.sandbox import Sandbox
from recoder_jax.data.chart_world import ChartWorld
from recoder_jax.data.mpl_gallery import NAME as GALLERY
from recoder_jax.data.sources import open_charts
from recoder_jax.doors import door
from recoder_jax.rewards.audit import INTACT
from recoder_jax.rewards.audit_damage import damaged_programs
from recoder_jax.rewards.part_audit import Pair, PartAudit, audit_parts, markdown, measure_pair
from recoder_jax.rewards.script_damage import damaged_scripts

Variants = list[tuple[str, int, str]]      # (damage, strength, program), the intact program first

SECONDS = 60.0         # limit of one program
SHOWN = {      # part -> look of its line
    'rule': {'color': 'C0', 'marker': 's', 'markersize': 9, 'markerfacecolor': 'none', 'linewidth': 3, 'alpha': 0.8},
    'similarity': {'color': 'C1', 'marker': '^', 'linewidth': 1.5},
    'textual': {'color': 'C2', 'marker': 'o', 'markersize': 4, 'linewidth': 1.5, 'linestyle': '--'},
    'attributes': {'color': 'C3', 'marker': 'x', 'markersize': 5, 'linewidth': 1.5, 'linestyle': ':'},
}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog='python -m recoder_jax.reward_audit', description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', required=True, metavar='DIR', help='where the report goes')
    parser.add_argument('--charts', type=int, default=5, help='charts of each difficulty (default: 5)')
    parser.add_argument('--difficulties', type=int, nargs='+', default=[0, 1, 2, 3], help='of the chart world (default: 0 1 2 3)')
    parser.add_argument('--split', default='test', help='of the chart world (default: test)')
    parser.add_argument('--workers', type=int, default=2, help='programs executed at once (default: 2)')
    parser.add_argument('--gallery', metavar='DATA_DIR', help="where `python -m recoder_jax.prepare mpl_gallery` put matplotlib's gallery")
    parser.add_argument('--gallery-charts', type=int, default=12, metavar='N',
                        help='scripts of its test split, evenly spaced (default: 12)')
    options = parser.parse_args(arguments)
    return door('reward_audit', lambda: run(options))


def run(options: argparse.Namespace) -> None:
    if min(options.charts, options.workers, options.gallery_charts) < 1:
        raise ValueError(f'--charts is {options.charts}, --workers is {options.workers} and --gallery-charts is '
                         f'{options.gallery_charts}; give at least 1')
    worlds = [ChartWorld(options.split, options.charts, difficulty) for difficulty in dict.fromkeys(options.difficulties)]
    scripts = gallery_charts(options.gallery, options.gallery_charts) if options.gallery else {}
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    pairs = measure(world_charts(worlds), options.workers)
    found = audit_parts(pairs)
    report, result = markdown(found), _to_json(found, pairs) | {'gallery': None}
    draw(found, out / 'audit.png')
    if scripts:
        pairs = measure(scripts, options.workers, of_effect)
        found = audit_parts(pairs)
        report += f"\nScripts of matplotlib's gallery:\n\n{markdown(found)}"
        result['gallery'] = _to_json(found, pairs)
        draw(found, out / 'gallery.png')
    (out / 'audit.json').write_text(json.dumps(result, indent=1))
    (out / 'audit.md').write_text(report)
    print(report, flush=True)


def _to_json(found: PartAudit, pairs: Sequence[Pair]) -> dict:
    return asdict(found) | {'measured': [asdict(pair) for pair in pairs]}


def world_charts(worlds: Sequence[ChartWorld]) -> dict[str, Variants]:
    """Every chart, by name, and every damage of it that applies."""
    return {f'chart_world/difficulty_{world.difficulty}/{world.split}/{index}':
            [(INTACT, 0, world.program(index)), *damaged_programs(world[index])] for world in worlds for index in range(len(world))}


def gallery_charts(data_dir: str, count: int) -> dict[str, Variants]:
    """Evenly spaced scripts of the gallery's test split, by name, and every damage of them. ValueError where there are fewer."""
    charts = open_charts(data_dir, GALLERY, 'test')
    if count > len(charts):
        raise ValueError(f'--gallery-charts is {count}, and the test split in {data_dir!r} has {len(charts)} scripts')
    chosen = [charts[number * len(charts) // count] for number in range(count)]
    return {chart.id: [(INTACT, 0, chart.program), *damaged_scripts(chart.program)] for chart in chosen}


def of_effect(executions: Sequence[Execution], variants: Variants) -> list[int]:
    """Indices of the intact program and of the damages that give a figure, and not that of the intact program or a lesser strength."""
    kept = [0]
    for index, execution in enumerate(executions):
        known = [executions[other].render for other in kept if variants[other][0] in (INTACT, variants[index][0])]
        if execution.ok and not any(np.array_equal(execution.render, render) for render in known):
            kept.append(index)
    return kept


def measure(charts: Mapping[str, Variants], workers: int, chosen: Callable[[Sequence[Execution], Variants], list[int]] | None = None) -> list[Pair]:
    """The pairs of every chart, all or the chosen ones. ValueError for a chart whose own program gives no figure."""
    print(f'reward_audit: {sum(map(len, charts.values()))} programs of {len(charts)} charts', flush=True)
    pairs, left_out = [], []
    with Sandbox(workers=workers, limits=Limits(seconds=SECONDS)) as sandbox:
        executed = iter(sandbox.execute_all([program for variants in charts.values() for _, _, program in variants]))
    for chart, variants in charts.items():
        executions = [next(executed) for _ in variants]
        golden, golden_program = executions[0], variants[0][2]
        if not golden.ok:
            raise ValueError(f'the program of {chart} gave no figure ({golden.status.value}); check the sandbox')
        kept = chosen(executions, variants) if chosen else range(len(variants))
        left_out += [execution for index, execution in enumerate(executions) if index not in kept]
        for index in kept:
            damage, strength, program = variants[index]
            pairs.append(measure_pair(chart, damage, strength, (executions[index], golden), (program, golden_program)))
    if left_out:
        print(f'reward_audit: left out {len(left_out)} programs, {sum(not execution.ok for execution in left_out)} of them without a figure', flush=True)
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
