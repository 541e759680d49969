"""Compares the mode `chartmimic` with ChartMimic's own evaluators on pairs made of gallery scripts. Run by hand, not a test.

    python tests/agreement_with_chartmimic.py pairs  --gallery DIR... --out PAIRS          any environment
    python tests/agreement_with_chartmimic.py theirs --checkout CHARTMIMIC --out PAIRS     theirs: matplotlib 3.8.4
    python tests/agreement_with_chartmimic.py ours   --out PAIRS --name NAME               ours: any matplotlib
    python tests/agreement_with_chartmimic.py table  --out PAIRS --name NAME...

PAIRS holds the scripts, pairs.json, and what each side found, one JSON object a line; every step goes on where it was
stopped. CHARTMIMIC is a checkout of github.com/ChartMimic/ChartMimic at c9e149c; nothing of it is part of this file.
Each evaluator is made anew for each pair, so that no number of an earlier pair is left in it.
"""

import argparse
import ast
import contextlib
import copy
import importlib
import io
import json
import math
import os
import random
import re
import runpy
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

METRICS = ('text', 'layout', 'chart_type', 'color')
TOLERANCE = 1e-6
SELECT_SECONDS, THEIR_SECONDS = 6.0, 180.0
MAX_ASSIGNMENTS = 6_000         # theirs enumerates them, in lists
_SKIPPED = re.compile(r'animation|widgets|event_handling|user_interfaces|embedding|_sgskip|tight_bbox|usetex|pgf|'
                      r'multipage|svg_filter|xkcd|findfont|font_table|timers|interactive|pong')
_CALLS_TO_TYPES = (('.plot(', '.scatter('), ('.scatter(', '.plot('), ('.bar(', '.barh('), ('.barh(', '.bar('),
                   ('.hist(', '.plot('), ('.contourf(', '.contour('), ('.imshow(', '.pcolor('), ('.fill_between(', '.plot('),
                   ('.stem(', '.plot('), ('.step(', '.plot('), ('.pie(', '.plot('), ('.boxplot(', '.violinplot('),
                   ('.violinplot(', '.boxplot('), ('.errorbar(', '.plot('), ('.plot_surface(', '.plot_wireframe('))
_COLOURS = ('red', 'green', 'blue', 'black', 'k', 'r', 'g', 'b', 'orange', 'purple', 'gray', 'tab:blue', 'tab:orange',
            'tab:green', 'tab:red', 'C0', 'C1', 'C2', 'C3')
_COLORMAPS = ('viridis', 'plasma', 'gray', 'coolwarm', 'jet', 'RdYlGn', 'Blues', 'hot', 'RdBu', 'PiYG', 'magma')
_SNIPPETS = {
    'recoloured at the end': 'for _line in plt.gca().lines:\n    _line.set_color("#CC3311")\n',
    'axes added': 'plt.gcf().add_subplot(3, 4, 12)\n',
    'twin axes': 'plt.gca().twinx()\n',
    'free axes': 'plt.gcf().add_axes([0.8, 0.8, 0.1, 0.1]).plot([1, 2], [2, 1])\n',
    'raises at the end': 'raise RuntimeError("stopped")\n',
    'own PDF saved first': 'plt.gcf().savefig("own.pdf")\n',
    'caught exception': 'try:\n    plt.gca().bar([1, 2], [1, 2, 3])\nexcept ValueError:\n    pass\n'
                        'plt.gca().axhline(0.5, color="#117733")\n',
    'line with markup': 'plt.gca().text(0.5, 0.5, "first line\\n$x^2$ second", transform=plt.gca().transAxes)\n',
}


def make_pairs(galleries: list[str], out: Path, wanted: int, seed: int = 0) -> None:
    """Writes golden scripts, edits of them and pairs.json."""
    files = sorted(file for gallery in galleries for file in Path(gallery).rglob('*.py') if not _SKIPPED.search(str(file)))
    random.Random(seed).shuffle(files)
    pairs, goldens = [], 0
    for file in files:
        if goldens >= wanted:
            break
        source = _as_golden(file.read_text(encoding='utf-8'))
        if source is None or not _draws_one_figure(source):
            continue
        golden = f'g{goldens:03d}'
        _write(out, golden, source)
        edits = [(name, code) for name, code in _edits(source, random.Random(f'{seed}{file.name}')) if code != source]
        chosen = _in_turn(edits, goldens)
        pairs.append({'generated': golden, 'golden': golden, 'edit': 'identical', 'from': file.name})
        for number, (name, code) in enumerate(chosen):
            _write(out, f'{golden}e{number}', code)
            pairs.append({'generated': f'{golden}e{number}', 'golden': golden, 'edit': name, 'from': file.name})
        goldens += 1
        print(goldens, file.name, [name for name, _ in chosen], flush=True)
    for number in range(0, goldens - 1, 2):
        pairs.append({'generated': f'g{number + 1:03d}', 'golden': f'g{number:03d}', 'edit': 'another script', 'from': ''})
    (out / 'pairs.json').write_text(json.dumps(pairs, indent=0))


def _as_golden(source: str) -> str | None:
    """The script up to its first `plt.show(`, as theirs cuts it; None for scripts that are not of one run or one result."""
    if 'import matplotlib.pyplot as plt' not in source or 'plt.savefig' in source:
        return None
    if 'random' in source and not re.search(r'seed\(\d|RandomState\(\d|default_rng\(\d|default_rng\(seed=\d', source):
        return None
    shown = re.search(r'^plt\.show\(', source, re.MULTILINE)
    if source.count('plt.show(') > 1 or not shown:
        return None
    return source[:shown.start()].rstrip() + '\n'


def _write(out: Path, name: str, source: str) -> None:
    (out / f'{name}.py').write_text(f'{source}plt.savefig("{name}.pdf")\n', encoding='utf-8')


def _draws_one_figure(source: str) -> bool:
    """Whether the script runs, leaves one figure with text and axes, and takes less than SELECT_SECONDS."""
    def check() -> None:
        import matplotlib
        matplotlib.use('Agg')
        import matplotlib.pyplot as plt
        from matplotlib.text import Text
        exec(compile(source, 'program.py', 'exec'), {'__name__': '__main__', '__file__': 'program.py'})
        figures = plt.get_fignums()
        assert len(figures) == 1 and plt.gcf().axes
        plt.gcf().canvas.draw()
        assert any(text.get_text().strip() for text in plt.gcf().findobj(Text))

    return _in_a_process(check, SELECT_SECONDS)


def _edits(source: str, dice: random.Random) -> Iterator[tuple[str, str]]:
    """(name, edited source) of every edit that applies."""
    strings = list(_strings(source))
    colours = [one for one in strings if one[2] in _COLOURS]
    if colours:
        yield 'colour changed', _replaced(source, dice.choice(colours), '#AA4499')
    else:
        yield 'colour changed', source.replace(
            'import matplotlib.pyplot as plt\n',
            'import matplotlib.pyplot as plt\nplt.rcParams["axes.prop_cycle"] = plt.cycler(color=["#88CCEE", "#AA4499"])\n', 1)
    maps = [one for one in strings if one[2] in _COLORMAPS]
    if maps:
        yield 'colormap changed', _replaced(source, dice.choice(maps), 'cividis')
    labels = [one for one in strings if ' ' in one[2] or one[2].istitle()]
    if labels:
        one = dice.choice(labels)
        yield 'label changed', _replaced(source, one, one[2] + ' of all')
    numbers = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant)
               and type(node.value) in (int, float) and node.value > 1]
    if numbers:
        node = dice.choice(numbers)
        yield 'data changed', _replaced(source, (node.lineno, node.col_offset, node.value, node.end_col_offset), node.value + 1)
    for old, new in _CALLS_TO_TYPES:
        if old in source:
            yield 'type changed', source.replace(old, new, 1)
            break
    if grid := re.search(r'subplots\((\d), (\d)', source):
        yield 'layout changed', source.replace(grid[0], f'subplots({grid[2]}, {grid[1]}', 1)
    for name, pattern in (('text dropped', r'title|set_xlabel|set_ylabel|\.text\(|annotate\('), ('legend dropped', r'\.legend\(')):
        if (shorter := _without(source, pattern)) is not None:
            yield name, shorter
    for name, snippet in _SNIPPETS.items():
        yield name, source + snippet


def _in_turn(edits: list[tuple[str, str]], number: int, count: int = 4) -> list[tuple[str, str]]:
    """`count` edits, others for each golden script, those of the program's own text before appended ones."""
    own, added = [one for one in edits if one[0] not in _SNIPPETS], [one for one in edits if one[0] in _SNIPPETS]
    turned = own[number % max(1, len(own)):] + own[:number % max(1, len(own))]
    return turned[:count - 1] + [added[number % len(added)]]


def _strings(source: str) -> Iterator[tuple[int, int, str, int]]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.lineno == node.end_lineno:
            yield node.lineno, node.col_offset, node.value, node.end_col_offset


def _replaced(source: str, where: tuple, new: object) -> str:
    lines = source.split('\n')
    line = lines[where[0] - 1].encode()
    lines[where[0] - 1] = (line[:where[1]] + repr(new).encode() + line[where[3]:]).decode()
    return '\n'.join(lines)


def _without(source: str, pattern: str) -> str | None:
    """The source without the first top-level call statement that matches."""
    lines = source.split('\n')
    for node in ast.parse(source).body:
        text = ast.get_source_segment(source, node)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and re.search(pattern, text.split('\n')[0]):
            return '\n'.join(lines[:node.lineno - 1] + lines[node.end_lineno:])
    return None


def run_theirs(checkout: Path, out: Path, cold: bool) -> None:
    """Lets their evaluators note each script, then lets them compare each pair."""
    os.environ['PROJECT_PATH'] = str(checkout.resolve())
    os.environ['PATH'] = str(Path(sys.executable).parent) + os.pathsep + os.environ['PATH']
    os.environ |= {'MPLBACKEND': 'Agg', 'PYTHONHASHSEED': '0', 'OMP_NUM_THREADS': '1', 'OPENBLAS_NUM_THREADS': '1'}
    sys.path.insert(0, str(checkout.resolve()))
    _evaluators()                # imported here once, not in every forked process
    if not cold:
        for module in ('squarify', 'networkx', 'matplotlib_venn', 'mpl_toolkits.mplot3d', 'matplotlib.backends.backend_pdf'):
            importlib.import_module(module)
        os.system = _run_in_a_fork
    pairs = json.loads((out / 'pairs.json').read_text())
    with _log(out / 'their_notes.jsonl', 'script') as (done, write):
        for script in dict.fromkeys(pair[side] for pair in pairs for side in ('golden', 'generated')):
            if script not in done:
                start = time.monotonic()
                write({'script': script} | _their_notes(out, script) | {'seconds': round(time.monotonic() - start, 2)})
    notes = {note['script']: note for note in _lines(out / 'their_notes.jsonl')}
    with _log(out / 'their_scores.jsonl', 'pair') as (done, write):
        for pair in pairs:
            if (key := f'{pair["generated"]}/{pair["golden"]}') not in done:
                write({'pair': key} | _their_scores(notes[pair['generated']], notes[pair['golden']]))


def _run_in_a_fork(command: str) -> int:
    """Runs `python FILE` in a fork of this process, which has imported what every such file imports first."""
    file = command.split(' ', 1)[1]
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            sys.argv, sys.path[0] = [file], str(Path(file).parent)
            runpy.run_path(file, run_name='__main__')
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    return os.waitpid(pid, 0)[1]


def _evaluators() -> dict:
    from chart2code.utils.evaluator.chart_type_evaluator import ChartTypeEvaluator
    from chart2code.utils.evaluator.color_evaluator import ColorEvaluator
    from chart2code.utils.evaluator.layout_evaluator import LayoutEvaluator
    from chart2code.utils.evaluator.text_evaluator import TextEvaluator
    return {'text': TextEvaluator(use_position=False, use_axs=False), 'layout': LayoutEvaluator(),
            'chart_type': ChartTypeEvaluator(), 'color': ColorEvaluator()}


def _their_notes(out: Path, script: str) -> dict:
    """What each evaluator notes of a script, and the last line of what it printed when it crashed."""
    found = {}
    readers = {'text': '_log_texts', 'layout': '_log_layouts', 'chart_type': '_get_chart_types', 'color': '_log_colors'}
    for metric, reader in readers.items():
        with tempfile.TemporaryDirectory() as folder:
            copy, result, errors = (Path(folder, name) for name in (f'{script}.py', 'result.json', 'errors'))
            copy.write_bytes((out / f'{script}.py').read_bytes())

            def note() -> None:
                os.chdir(folder)
                os.dup2(os.open(errors, os.O_CREAT | os.O_WRONLY), 2)
                value = getattr(_evaluators()[metric], reader)(str(copy))
                result.write_text(json.dumps(value))

            ended = _in_a_process(note, THEIR_SECONDS)
            crash = [line for line in errors.read_text(errors='replace').splitlines() if re.match(r'\w*(Error|Exception)\b', line)]
            found[metric] = json.loads(result.read_text()) if ended and result.exists() else None
            if crash or not ended:
                found[f'{metric}_crash'] = crash[-1][:200] if crash else 'no end'
    return found


def _their_scores(generated: dict, golden: dict) -> dict:
    """F1 by their arithmetic, or why there is none."""
    scores = {}
    for metric, evaluator in _evaluators().items():
        a, b = copy.copy(generated[metric]), copy.copy(golden[metric])      # theirs takes entries out of its lists
        if a is None or b is None:
            scores[metric] = 'no end'
        elif metric == 'color' and _assignments(a, b) > MAX_ASSIGNMENTS:
            scores[metric] = 'too many assignments'
        else:
            evaluator.golden_code_file = 'golden.py'
            try:
                with contextlib.redirect_stdout(io.StringIO()):
                    evaluator._calculate_metrics(a, b)
                scores[metric] = evaluator.metrics['f1']
            except ZeroDivisionError:
                scores[metric] = 'crashed'
    return scores


def _assignments(a: list[str], b: list[str]) -> int:
    first, second = (Counter(entry.split('--')[0] for entry in side) for side in (a, b))
    return max((math.perm(max(first[key], second[key]), min(first[key], second[key])) for key in first), default=0)


def run_ours(out: Path, name: str) -> None:
    """Executes each script in the sandbox and scores each pair."""
    from recoder_jax.charts.sandbox import Limits, Sandbox
    from recoder_jax.charts.scores import rule_score

    pairs = json.loads((out / 'pairs.json').read_text())
    scripts = list(dict.fromkeys(pair[side] for pair in pairs for side in ('golden', 'generated')))
    with Sandbox(workers=1, limits=Limits(seconds=60.0)) as sandbox:
        executions = {script: sandbox.execute((out / f'{script}.py').read_text()) for script in scripts}
    with open(out / f'our_notes_{name}.jsonl', 'w') as file:
        for script, execution in executions.items():
            noted = execution.chartmimic.to_json() if execution.ok else None
            file.write(json.dumps({'script': script, 'status': execution.status.value, 'log': execution.log[-200:], 'elements': noted}) + '\n')
    with open(out / f'our_scores_{name}.jsonl', 'w') as file:
        for pair in pairs:
            if (golden := executions[pair['golden']]).ok:
                score = rule_score(executions[pair['generated']], golden, 'chartmimic')
                values = {metric: getattr(score, metric) for metric in METRICS}
            else:
                values = dict.fromkeys(METRICS, 'golden failed')
            file.write(json.dumps({'pair': f'{pair["generated"]}/{pair["golden"]}'} | values) + '\n')


def print_table(out: Path, name: str) -> None:
    """One line a metric, then every difference."""
    pairs = {f'{pair["generated"]}/{pair["golden"]}': pair for pair in json.loads((out / 'pairs.json').read_text())}
    notes = {note['script']: note for note in _lines(out / 'their_notes.jsonl')}
    theirs = {line['pair']: line for line in _lines(out / 'their_scores.jsonl')}
    ours = {line['pair']: line for line in _lines(out / f'our_scores_{name}.jsonl')}
    noted = {note['script']: note['elements'] for note in _lines(out / f'our_notes_{name}.jsonl')}      # None: failed
    print(f'{name}: {len(pairs)} pairs\nmetric      compared  agree  excluded: reason')
    different = []
    for metric in METRICS:
        agree, excluded = 0, Counter()
        for key, pair in pairs.items():
            if reason := _excluded(metric, pair, notes, theirs[key][metric], ours[key][metric], noted):
                excluded[reason] += 1
            elif abs(theirs[key][metric] - ours[key][metric]) <= TOLERANCE:
                agree += 1
            else:
                different.append((metric, key, pair['from'], pair['edit'], theirs[key][metric], ours[key][metric]))
        print(f'{metric:<12}{len(pairs) - excluded.total():>8}{agree:>7}  {dict(excluded)}')
    for row in different:
        print(*row)


def _excluded(metric: str, pair: dict, notes: dict, theirs: object, ours: object, noted: dict) -> str:
    """Why a pair says nothing about agreement, or ''."""
    scripts = [pair['generated'], pair['golden']]
    if isinstance(ours, str):
        return ours
    if any(f'{metric}_crash' in notes[script] and noted[script] is not None for script in scripts):
        return 'their hooks crash'
    if metric == 'color' and any(noted[script] is not None and len(noted[script]['colors']) > 10 for script in scripts):
        return 'random there: more than 10 colours'
    if theirs == 'crashed' and not notes[pair['golden']]['color']:
        return 'theirs divides by zero: golden without colours'
    return theirs if isinstance(theirs, str) else ''


def _in_a_process(work: Callable[[], None], seconds: float) -> bool:
    """Whether `work` returned in a forked process (a process group of its own) within the time."""
    pid = os.fork()
    if pid == 0:
        code = 1
        with contextlib.suppress(BaseException):
            os.setsid()
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, 1)
            os.dup2(nothing, 2)
            work()
            code = 0
        os._exit(code)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return status == 0
        time.sleep(0.01)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return False


def _lines(file: Path) -> list[dict]:
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


@contextlib.contextmanager
def _log(file: Path, key: str) -> Iterator[tuple[set, Callable[[dict], None]]]:
    done = {line[key] for line in _lines(file)}
    with open(file, 'a', buffering=1) as stream:
        yield done, lambda value: stream.write(json.dumps(value) + '\n') and None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('step', choices=('pairs', 'theirs', 'ours', 'table'))
    parser.add_argument('--out', type=Path, required=True)
    parser.add_argument('--gallery', nargs='+', default=[])
    parser.add_argument('--goldens', type=int, default=75)
    parser.add_argument('--checkout', type=Path)
    parser.add_argument('--cold', action='store_true', help='start an interpreter for each file, as theirs does')
    parser.add_argument('--name', nargs='+', default=['ours'])
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.step == 'pairs':
        make_pairs(options.gallery, options.out, options.goldens)
    elif options.step == 'theirs':
        run_theirs(options.checkout, options.out, options.cold)
    else:
        for name in options.name:
            (run_ours if options.step == 'ours' else print_table)(options.out, name)


if __name__ == '__main__':
    main()
