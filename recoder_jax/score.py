"""Scores a program against another: `python -m recoder_jax.score GENERATED.py GOLDEN.py`.

Prints one line of JSON: F1 in [0, 1] of text, layout, chart_type and color, their mean low_level, and executed,
whether the generated program gave a figure. Exit code 2 and one sentence for bad input.
"""

import argparse
import json
import sys
from pathlib import Path

from recoder_jax.charts.sandbox import Sandbox
from recoder_jax.charts.scores import MODES, rule_score
from recoder_jax.doors import door


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns the exit code."""
    parser = argparse.ArgumentParser(prog='python -m recoder_jax.score', description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('generated', metavar='GENERATED.py', help='program to score')
    parser.add_argument('golden', metavar='GOLDEN.py', help='program that draws the target')
    parser.add_argument('--mode', choices=MODES, default='fixed', help='how elements are matched (default: fixed)')
    options = parser.parse_args(arguments)
    return door('score', lambda: score_programs(options.generated, options.golden, options.mode))


def score_programs(generated_file: str, golden_file: str, mode: str) -> None:
    """Executes both programs and prints the score of the first against the second."""
    programs = [read_program(generated_file), read_program(golden_file)]
    with Sandbox(workers=2) as sandbox:
        generated, golden = sandbox.execute_all(programs)
    score = rule_score(generated, golden, mode)
    if not generated.ok:
        print(f'the generated program gave no figure: {generated.status.value}', *generated.log.splitlines()[-1:],
              file=sys.stderr)
    print(json.dumps({'text': score.text, 'layout': score.layout, 'chart_type': score.chart_type,
                      'color': score.color, 'low_level': score.low_level, 'executed': score.executed}))


def read_program(path: str) -> str:
    """The text of a program; FileNotFoundError or ValueError with one sentence."""
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(f'{path} is not a file; give the path of a Python program')
    try:
        return file.read_text(encoding='utf-8')
    except UnicodeDecodeError as error:
        raise ValueError(f'{path} is not UTF-8 at byte {error.start}; give a Python program as text') from error


if __name__ == '__main__':
    sys.exit(main())
