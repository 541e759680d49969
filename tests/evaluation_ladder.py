"""The answers of a known policy for `scripted_server`: damaged golden programs that get better turn by turn, the last one whole.

    python -m tests.evaluation_ladder DATA mpl_gallery test --out answers.jsonl
"""

import argparse
from pathlib import Path

from recoder_jax.data.sources import open_charts
from recoder_jax.dialogue.response import write_response
from recoder_jax.rewards.script_damage import SCRIPT_DAMAGES, damaged_script
from tests.scripted_server import write_answers

STRENGTHS = (3, 2, 1, 0)  # turn by turn; 0 leaves the program as it is


def rung(program: str, strength: int) -> str:
    """The program with colours and texts of its figure damaged by so much of three."""
    for damage in SCRIPT_DAMAGES if strength else ():
        if damage.name in ('colour', 'text'):
            program = damaged_script(program, damage, strength)
    return program


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('data')
    parser.add_argument('name')
    parser.add_argument('split')
    parser.add_argument('--out', type=Path, required=True)
    options = parser.parse_args()
    charts = open_charts(options.data, options.name, options.split)
    write_answers(options.out, ((chart.image, [write_response('', rung(chart.program, strength)) for strength in STRENGTHS]) for chart in charts))
    print(f'{len(charts)} charts, {len(STRENGTHS)} turns: {options.out}')


if __name__ == '__main__':
    main()
