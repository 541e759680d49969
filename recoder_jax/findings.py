"""Keeps the results of finished runs as lines of a small file, and prints the tables of such files.

    python -m recoder_jax.findings docs/findings/strategies.jsonl runs/strategies/*_seed?     writes their lines, then prints the file
    python -m recoder_jax.findings docs/findings/strategies.jsonl                             prints it
    python -m recoder_jax.findings docs/findings/strategies.jsonl --over=full                 and what each arm has more than that one

A line is one run: arm (the name of its config), seed, hash of the config, versions, machine, updates, sampled tokens, scores of every turn and of the
correction with their intervals, and low-level of every chart, so that arms can be compared chart by chart without the runs. Runs that lead to a run,
RUN_part1 and so on as launch/study.sh leaves them, count in its updates and tokens.
A run takes the place of the line of its arm and seed; other lines stay. Write them on the machine that ran the runs: the line names it.
"""

import argparse
import hashlib
import json
import math
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from recoder_jax.doors import door
from recoder_jax.evaluation.arms import arms_of, arms_table, measures_of, paired
from recoder_jax.evaluation.table import format_interval
from recoder_jax.runs.curves import Run, read_runs
from recoder_jax.runs.records import Evaluation
from recoder_jax.runs.scorecards import Interval

PARTS = {'text': 'text', 'layout': 'layout', 'chart_type': 'chart type', 'color': 'colour'}  # of low-level, where a language has them


def summary(run: Run, evaluation: Evaluation, machine: str) -> dict:
    """The line of an evaluated run."""
    parts = [*read_runs([*sorted(run.directory.path.parent.glob(f'{run.directory.name}_part[0-9]*')), run.directory.path])]
    rows = [row for part in parts for row in part.metrics]
    total = {name: sum(row.get(name, 0.0) for row in rows) for name in ('sampling/tokens', 'batch/trained_tokens', 'time/step')}
    card = evaluation.card
    start = Path(str(parts[0].config.get('init') or '')).name or 'random weights'
    return {
        'arm': run.label, 'seed': run.config.get('seed'), 'start': start if rows else '–',  # a policy that was evaluated alone
        'config': evaluation.config_hash, 'code': card.code_version if card else '', 'packages': {key: value for key, value in card.packages.items() if value} if card else {},
        'machine': machine, 'benchmark': evaluation.benchmark, 'evaluation_seeds': evaluation.seeds,
        'updates': len(rows), 'sampled_tokens': round(total['sampling/tokens']), 'trained_tokens': round(total['batch/trained_tokens']),
        'seconds': round(total['time/step'] if math.isfinite(total['time/step']) else 0), 'alarms': sum(len(part.alarms) for part in parts),
        'measures': {name: _rounded(each) for name, each in measures_of(evaluation).items()},
        'turns': [{'turn': each.turn, 'executed': _rounded(each.executed), 'low_level': _rounded(each.low_level)} for each in evaluation.turns],
        'parts': [{name: None if (value := getattr(each, name)) is None else round(value, 2) for name in PARTS} for each in evaluation.turns],
        'charts': {'digest': hashlib.sha256('\n'.join(each.chart for each in evaluation.results).encode()).hexdigest()[:12],
                   'low_level': [[round(100 * each.low_level[turn], 2) for each in evaluation.results] for turn in range(len(evaluation.turns))]},
    }  # fmt: skip


def _rounded(interval: Interval) -> dict[str, float | None]:
    return {name: None if value is None else round(value, 3) for name, value in asdict(interval).items()}


def machine_name() -> str:
    """The processor of this machine and how many of its cores this process may use."""
    try:
        lines = Path('/proc/cpuinfo').read_text().splitlines()
    except OSError:
        lines = []
    model = next((line.partition(':')[2].strip() for line in lines if line.startswith('model name')), 'processor of unknown name')
    return f'{len(os.sched_getaffinity(0))} cores of {model}'


def write(file: Path, paths: Sequence[str], machine: str) -> None:
    """Writes a line a run, in the place of the line that the file has of its arm and seed; other lines stay.

    ValueError for a run without an evaluation, for two runs of one arm and seed, and for a file that this door did not write.
    """
    new = {}
    for run in read_runs(paths):
        evaluation = run.directory.read_evaluation()
        if evaluation is None:
            raise ValueError(f'{run.directory.path} was not evaluated; evaluate it first or leave it out')
        line = summary(run, evaluation, machine)
        if (line['arm'], line['seed']) in new:
            raise ValueError(f"{run.directory.path} is another run of arm '{line['arm']}' and seed {line['seed']}; give arms names of their own (config.name)")
        new[line['arm'], line['seed']] = line
    lines = ({(row['arm'], row['seed']): row for row in _lines(file)} if file.exists() else {}) | new
    arms = list(dict.fromkeys(arm for arm, _ in lines))
    ordered = sorted(lines.values(), key=lambda line: arms.index(line['arm']))
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text('\n'.join(json.dumps(line, sort_keys=True) for line in ordered) + '\n')


def read(file: Path) -> list[dict]:
    """ValueError for a file that this door did not write."""
    if not file.is_file():
        raise FileNotFoundError(f'there is no {file}; name runs behind it to write it')
    rows = _lines(file)
    try:
        for row in rows:
            row['measures'] = {name: Interval(**each) for name, each in row['measures'].items()}
            row['turns'] = [{name: each if name == 'turn' else Interval(**each) for name, each in turn.items()} for turn in row['turns']]
    except (KeyError, TypeError, AttributeError) as error:
        raise _no_findings(file, error) from None
    return rows


def _lines(file: Path) -> list[dict]:
    """The lines as they stand, each known by its arm and seed."""
    try:
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        for row in rows:
            row['arm'], row['seed']
    except (ValueError, KeyError, TypeError) as error:
        raise _no_findings(file, error) from None
    return rows


def _no_findings(file: Path, error: Exception) -> ValueError:
    return ValueError(f'{file} is no file of findings ({error!r}); move it away and write it again')


def tables(rows: Sequence[dict]) -> str:
    """Markdown: arms over their seeds, what each cost, and the turns where there are more than two."""
    arms = {arm: [row for row in rows if row['arm'] == arm] for arm in dict.fromkeys(row['arm'] for row in rows)}
    lines = [arms_table(arms_of({arm: [row['measures'] for row in own] for arm, own in arms.items()})), '',
             '| arm | seeds | starts from | updates | sampled tokens | trained tokens | seconds | alarms |', '|---|---|---|---:|---:|---:|---:|---:|']
    for arm, own in arms.items():
        means = [f'{sum(row[name] for row in own) / len(own):,.0f}' for name in ('updates', 'sampled_tokens', 'trained_tokens', 'seconds', 'alarms')]
        lines.append(f'| {arm} | {", ".join(str(row["seed"]) for row in own)} | {", ".join(dict.fromkeys(row["start"] for row in own))} | ' + ' | '.join(means) + ' |')
    long = [row for row in rows if len(row['turns']) > 2]
    if long:
        lines += ['', '| arm | seed | turn | executed | low-level |', '|---|---:|---:|---:|---:|']
        lines += [f'| {row["arm"]} | {row["seed"]} | {turn["turn"]} | {format_interval(turn["executed"])} | {format_interval(turn["low_level"])} |'
                  for row in long for turn in row['turns']]
    return '\n'.join([*lines, *_parts_table(arms)])


def _parts_table(arms: Mapping[str, Sequence[dict]]) -> list[str]:
    """Means over seeds of the four rule scores at the first and the last turn; nothing where no line has them."""
    lines = []
    for arm, rows in arms.items():
        if all(None not in turn.values() for row in rows for turn in row.get('parts', [{'text': None}])):
            means = [[float(np.mean([row['parts'][turn][name] for row in rows])) for turn in (0, -1)] for name in PARTS]
            lines.append(f'| {arm} | ' + ' | '.join(f'{first:.1f}, {last:.1f}' for first, last in means) + ' |')
    head = ['', '| first turn, last turn | ' + ' | '.join(PARTS.values()) + ' |', '|---|' + '---:|' * len(PARTS)]
    return [*head, *lines] if lines else []


def differences(rows: Sequence[dict], over: str) -> str:
    """Markdown: low-level of every other arm less that of `over`, paired by chart; arms whose lines have no scores of charts are named below.

    ValueError where `over` has none, or another arm was evaluated on other charts."""
    arms = {arm: [row for row in rows if row['arm'] == arm] for arm in dict.fromkeys(row['arm'] for row in rows)}
    if over not in arms:
        raise ValueError(f'there is no arm {over!r}; choose one of {", ".join(arms)}')
    if any('charts' not in row for row in arms[over]):
        raise ValueError(f'the lines of {over} have no scores of charts; write the file again from its runs')
    digest, unpaired = arms[over][0]['charts']['digest'], []
    for arm, own in arms.items():
        if any('charts' not in row for row in own):
            unpaired.append(arm)
        elif any(row['charts']['digest'] != digest for row in own):
            raise ValueError(f'{arm} was evaluated on other charts than {over}; give runs evaluated on the same')

    def scores(arm: str, turn: int) -> dict[int, np.ndarray]:
        return {row['seed']: np.array(row['charts']['low_level'][turn]) for row in arms[arm]}

    lines = [f'| over {over} | turn 1 | last turn | last turn, by seed |', '|---|---:|---:|---|']
    for arm in arms:
        if arm not in (over, *unpaired):
            first, last = (paired(scores(arm, turn), scores(over, turn)) for turn in (0, -1))
            cells = [f'{each.value:+.1f} ({each.low:+.1f} to {each.high:+.1f})' for each in (first, last)]
            lines.append(f'| {arm} | {" | ".join(cells)} | {", ".join(f"{value:+.1f}" for value in last.seeds)} |')
    return '\n'.join([*lines, *([f'\nWithout scores of charts: {", ".join(unpaired)}.'] if unpaired else [])])


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog='python -m recoder_jax.findings', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('file', type=Path, metavar='FILE', help='lines of JSON, such as docs/findings/strategies.jsonl')
    parser.add_argument('runs', nargs='*', metavar='RUN', help='evaluated run directories, whose lines are written or replaced')
    parser.add_argument('--machine', default='', help='what ran them (default: this machine)')
    parser.add_argument('--over', default='', metavar='ARM', help='also print what every arm has more than this one, chart by chart')
    options = parser.parse_args(arguments)

    def act() -> None:
        if options.runs:
            write(options.file, options.runs, options.machine or machine_name())
        rows = read(options.file)
        print(tables(rows), flush=True)
        if options.over:
            print('\n' + differences(rows, options.over), flush=True)

    return door('findings', act)


if __name__ == '__main__':
    sys.exit(main())
