"""Audits a judge: are its scores fit to be a reward?

    python -m recoder_jax.judge_audit --base-url http://HOST:8000/v1 --model NAME --charts chart_world:test[:20] --out DIR
    python -m recoder_jax.judge_audit --base-url http://HOST:8000/v1 --model NAME --images DIR --out DIR

Charts are damaged in known ways (colours moved, texts overlapping, data changed, wrong type, empty panels, blank) with rising
strength and put before the judge. Reported: whether it orders them rightly, how much it fluctuates between calls, whether the
order of the images matters, whether it gives one value to all, its rank correlation with the rule score, and what a question
costs. With --images there are no programs, so no wrong type and no rule score. Writes audit.json, audit.md and audit.png.
"""

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from recoder_jax.charts.sandbox import Sandbox
from recoder_jax.charts.scores import rule_score
from recoder_jax.data.chart_world import ChartWorld
from recoder_jax.doors import door
from recoder_jax.rewards.audit import INTACT, Answer, Audit, Specimen, audit, markdown
from recoder_jax.rewards.audit_damage import damaged_images, damaged_programs
from recoder_jax.rewards.images import bounded
from recoder_jax.rewards.judge import Judge, JudgeOptions

DEFAULT_CHARTS = 20
SUFFIXES = ('.png', '.jpg', '.jpeg')


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog='python -m recoder_jax.judge_audit', description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--base-url', required=True, metavar='URL', help="address up to and with '/v1'; several, separated by commas")
    parser.add_argument('--model', required=True, help='name of the model there')
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument('--images', metavar='DIR', help='reference charts as .png or .jpg')
    source.add_argument('--charts', metavar='chart_world:SPLIT[:N]', help=f'the first N charts of a split, {DEFAULT_CHARTS} without N')
    parser.add_argument('--out', required=True, metavar='DIR', help='where the report goes')
    parser.add_argument('--difficulty', type=int, default=1, help='of the chart world, 0 to 3 (default: 1)')
    parser.add_argument('--repeats', type=int, default=3, help='how often a specimen is asked about in all (default: 3)')
    parser.add_argument('--repeated', type=int, default=20, help='specimens that are asked about again and swapped (default: 20)')
    parser.add_argument('--concurrency', type=int, default=16, help='questions in flight (default: 16)')
    parser.add_argument('--seconds', type=float, default=120.0, help='deadline of a judgement (default: 120)')
    parser.add_argument('--key-variable', default='OPENAI_API_KEY', help='environment variable with the key (default: OPENAI_API_KEY)')
    parser.add_argument('--workers', type=int, default=2, help='programs executed at once (default: 2)')
    options = parser.parse_args(arguments)
    return door('judge_audit', lambda: run(options))


def run(options: argparse.Namespace) -> None:
    if options.repeats < 1 or options.repeated < 0:
        raise ValueError(f'--repeats is {options.repeats} and --repeated is {options.repeated}; give at least 1 and 0')
    reach = JudgeOptions(options.base_url, options.model, key_variable=options.key_variable, seconds=options.seconds,
                         concurrency=options.concurrency, server_concurrency=options.concurrency)
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    if options.images:
        specimens = image_specimens(options.images)
    else:
        specimens = program_specimens(options.charts, options.difficulty, options.workers)
    print(f'judge_audit: {len(specimens)} specimens of {len({s.chart for s in specimens})} charts', flush=True)
    with Judge(reach) as judge:
        answers = ask(judge, specimens, options.repeats, options.repeated)
        health = judge.health
    found = audit(answers)
    report = markdown(found, options.model)
    answered = [{'chart': a.specimen.chart, 'damage': a.specimen.damage, 'strength': a.specimen.strength, 'rule': a.specimen.rule,
                 'score': a.first.score, 'items': a.first.items, 'again': [j.score for j in a.again],
                 'swapped': a.swapped and a.swapped.score, 'failure': a.first.failure} for a in answers]
    servers = [{'address': address, 'answered': good, 'failed': bad} for address, good, bad in health]
    everything = {'model': options.model, 'servers': servers} | found.to_json() | {'answers': answered}
    (out / 'audit.json').write_text(json.dumps(everything, indent=1))
    (out / 'audit.md').write_text(report)
    draw(found, out / 'audit.png')
    print(report, flush=True)


def program_specimens(charts: str, difficulty: int, workers: int) -> list[Specimen]:
    """Specimens of charts of the chart world, drawn by their damaged programs. ValueError for a name of another form."""
    match = re.fullmatch(r'chart_world:(\w+?)(?:\[?:(\d+)\]?)?', charts)
    if not match:
        raise ValueError(f'--charts is {charts!r}; write chart_world:SPLIT or chart_world:SPLIT[:N], for example '
                         'chart_world:test[:20]')
    count = int(match[2] or DEFAULT_CHARTS)
    if count < 1:
        raise ValueError(f'--charts is {charts!r}, which is no chart; ask for at least one')
    world = ChartWorld(match[1], count, difficulty)
    wanted = [(f'chart_world/{match[1]}/{index}', [(INTACT, 0, world.program(index)), *damaged_programs(world[index])])
              for index in range(count)]
    with Sandbox(workers=workers) as sandbox:
        executions = iter(sandbox.execute_all([program for _, variants in wanted for _, _, program in variants]))
    specimens = []
    for chart, variants in wanted:
        golden = None
        for damage, strength, _ in variants:
            execution = next(executions)
            golden = golden or execution
            if not golden.ok:
                raise ValueError(f'the program of {chart} gave no figure ({golden.status.value}); check the sandbox')
            if execution.render is not None:
                rule = rule_score(execution, golden).low_level
                specimens.append(Specimen(chart, damage, strength, golden.render, execution.render, rule))
    return specimens


def image_specimens(directory: str) -> list[Specimen]:
    """Specimens of the images of a directory. ValueError when it is none, or holds no chart."""
    folder, specimens = Path(directory), []
    if not folder.is_dir():
        raise ValueError(f'--images is {directory!r}, which is no directory; give one with .png or .jpg files')
    for file in sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES):
        try:
            with Image.open(file) as opened:
                image = bounded(np.asarray(opened.convert('RGB')), JudgeOptions.max_pixels)
        except (OSError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise ValueError(f'{str(file)!r} cannot be read as an image ({type(error).__name__}); remove it') from error
        damaged = damaged_images(image)
        if damaged:
            specimens += [Specimen(file.name, *variant[:2], image, variant[2]) for variant in [(INTACT, 0, image), *damaged]]
    if not specimens:
        raise ValueError(f'{directory!r} holds no chart; give .png or .jpg files of more than one colour')
    return specimens


def ask(judge: Judge, specimens: Sequence[Specimen], repeats: int, repeated: int) -> list[Answer]:
    """Every specimen is put before the judge once; `repeated` of them, spread evenly, again and with the images swapped."""
    chosen = {int(n) for n in np.linspace(0, len(specimens) - 1, min(repeated, len(specimens)))}
    futures = []
    for n, one in enumerate(specimens):
        first = judge.submit(one.reference, one.image, fresh=True)
        again = [judge.submit(one.reference, one.image, fresh=True) for _ in range(repeats - 1)] if n in chosen else []
        futures.append((one, first, again, judge.submit(one.image, one.reference, fresh=True) if n in chosen else None))
    return [Answer(one, first.result(), tuple(future.result() for future in again), swapped and swapped.result())
            for one, first, again, swapped in futures]


def draw(found: Audit, path: Path) -> None:
    """Mean score by strength, one line a damage; dashed, the rule score."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout='constrained')
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(xlabel='strength of the damage', ylabel='points', ylim=(-3, 103))
    axes.set_title('Score by damage (dashed: rule score)')
    for number, damage in enumerate(found.damages):
        axes.plot([100 * mean for mean in damage.means], marker='o', color=f'C{number}', label=damage.damage)
        if damage.rules:
            axes.plot([100 * mean for mean in damage.rules], linestyle='--', linewidth=1, color=f'C{number}')
    axes.set_xticks(range(max((len(damage.means) for damage in found.damages), default=1)))
    axes.legend()
    figure.savefig(path, dpi=120)


if __name__ == '__main__':
    sys.exit(main())
