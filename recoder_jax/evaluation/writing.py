"""What an evaluation leaves in a run directory.

    RUN/evaluation.json, RUN/evaluation.html, RUN/tables.{md,csv,json,tex}, RUN/rollouts/step_000000.jsonl, RUN/renders/
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from recoder_jax.charts.scores import same_program
from recoder_jax.evaluation.metrics import evaluation_of
from recoder_jax.evaluation.page import write_evaluation_page
from recoder_jax.evaluation.papers import breakdowns, paper_scores
from recoder_jax.evaluation.tables import WRITERS, paper_tables
from recoder_jax.runs.directory import RunDirectory
from recoder_jax.runs.records import ChartResult, DialogueRecord, Evaluation
from recoder_jax.runs.scorecards import ReferenceCard


def full_evaluation(results: Sequence[ChartResult], name: str, benchmark: str, card: ReferenceCard, compared: str = 'elements',
                    absent: Mapping[str, str] = MappingProxyType({})) -> Evaluation:  # fmt: skip
    """Everything that is said of these results. compared: 'elements' or 'pictures', what low-level compares. absent: as in `Evaluation`."""
    plain = evaluation_of(results, same_program, name=name, benchmark=benchmark, seeds=card.seeds, config_hash=card.config_hash, compared=compared)
    return replace(plain, papers=paper_scores(results), breakdowns=breakdowns(results), card=card, absent=dict(absent))


def write_evaluation(run: RunDirectory, evaluation: Evaluation, records: Sequence[DialogueRecord]) -> None:
    """All files; evaluation.json comes last, so that where it stands the others do, and the blocks it was made of go."""
    tables = paper_tables([evaluation])
    run.write_rollouts(0, records)
    write_tables(run.path, [evaluation])
    write_evaluation_page(run.path / 'evaluation.html', evaluation, tables, records, run.renders, same_program)
    run.write_evaluation(evaluation)
    run.remove_blocks()


def write_tables(directory: str | os.PathLike, evaluations: Sequence[Evaluation], say: Callable[[str], None] = lambda _: None) -> None:
    """tables.md, .csv, .json and .tex of these evaluations."""
    tables = paper_tables(evaluations)
    for ending, write in WRITERS.items():
        path = os.path.join(directory, f'tables.{ending}')
        with open(path, 'w', encoding='utf-8', errors='replace') as file:
            file.write(write(tables))
        say(path)
