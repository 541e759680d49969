"""`evaluation.html`: the tables of an evaluation and its worst, median and best dialogues."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from recoder_jax.evaluation.tables import Table, cell_text
from recoder_jax.runs.records import DialogueRecord, Evaluation
from recoder_jax.runs.viewer import SameProgram, Source, dialogue_data, environment, write_page

SHOWN = 3  # dialogues of each kind


def worst_median_best(records: Sequence[DialogueRecord], shown: int = SHOWN) -> dict[str, list[DialogueRecord]]:
    """Dialogues by low-level of their last turn, ties in their order; with few of them every one stands under one heading only."""
    ordered = sorted(records, key=lambda record: record.turns[-1].parts.get('low_level', 0.0))
    count = min(shown, max(1, len(ordered) // 3))
    end = max(count, len(ordered) - count)
    middle = max(count, (len(ordered) - count) // 2)
    return {'worst': ordered[:count], 'median': ordered[middle : min(middle + count, end)], 'best': ordered[end:][::-1]}


def write_evaluation_page(path: Path, evaluation: Evaluation, tables: Sequence[Table], records: Sequence[DialogueRecord], renders: Path,
                          same_program: SameProgram) -> None:  # fmt: skip
    """The page. renders: directory the image names of the records are relative to."""
    chosen = {f'{heading} dialogues': entries for heading, entries in worst_median_best(records).items()}
    lede = 'The worst, the median and the best dialogues by low-level of the last turn, then the tables; numbers in points, with 95 % bootstrap intervals.'
    write_dialogues(path, f'{evaluation.name}: {evaluation.benchmark}', lede, chosen, renders, same_program, tables)


def write_dialogues(path: Path, title: str, lede: str, dialogues: Mapping[str, Sequence[DialogueRecord]], renders: Path, same_program: SameProgram,
                    tables: Sequence[Table] = ()) -> None:  # fmt: skip
    """A page of dialogues under their headings, and of tables."""
    data = dialogue_data([Source(heading, renders, entries) for heading, entries in dialogues.items()], path, same_program)
    shown = [(table.title, table.header, [[cell_text(cell) for cell in row] for row in table.rows], table.notes) for table in tables]
    write_page(path, environment().get_template('evaluation.html').render(title=title, lede=lede, tables=shown, data=data))
