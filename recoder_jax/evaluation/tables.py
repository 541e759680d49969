"""The tables of a paper from evaluations, with the published rows marked as such; as Markdown, CSV, JSON and LaTeX."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass

from recoder_jax.evaluation.papers import BEST_EXECUTED, LAST, LAST_EXECUTED, headline
from recoder_jax.evaluation.published import CORRECTIONS, ROWS
from recoder_jax.runs.records import Evaluation
from recoder_jax.runs.scorecards import Interval, PaperScores

MISSING = '–'
OURS = 'ours'
Cell = str | int | float | Interval | None
_LATEX = str.maketrans({'&': r'\&', '%': r'\%', '_': r'\_', '#': r'\#', '$': r'\$', '{': r'\{', '}': r'\}', '~': r'\textasciitilde{}',
                        '^': r'\textasciicircum{}', '\\': r'\textbackslash{}', '–': '--'})
_FORMS = ('executed', 'text', 'layout', 'chart_type', 'color', 'code_pass', 'no_filter', 'fixed', 'high_level', 'overall', 'pass_rate', 'text_match')
_HEADS = ('executed', 'text', 'layout', 'type', 'colour', 'low-level (code_pass)', 'low-level (no_filter)', 'low-level (fixed)', 'high-level',
          'overall', 'pass rate', 'text match')
_JUDGED = {'rating': 'rating (1 to 10)', 'grade': 'grade (0 to 5)'}  # columns that stand only where somebody has a value


@dataclass(frozen=True)
class Table:
    """A table of any content. name: one word for files. rows: cells as they were measured; numbers are in points but for counts and what names
    its scale. notes: sentences below it."""

    name: str
    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()


def paper_tables(evaluations: Sequence[Evaluation]) -> list[Table]:
    """All tables of these evaluations: main, corrections, turns, breakdown, cards. A table that would have no row of ours is left out.

    ValueError without an evaluation.
    """
    if not evaluations:
        raise ValueError('there is no evaluation to put into tables; run `python -m recoder_jax.evaluate` first')
    tables = [main_table(evaluations), corrections_table(evaluations), turns_table(evaluations), breakdown_table(evaluations), cards_table(evaluations)]
    return [table for table in tables if any(OURS in row for row in table.rows)]


def main_table(evaluations: Sequence[Evaluation]) -> Table:
    """As MM-ReCoder's and MSRL's main tables: a model and its turns a row, the last turn and the two other rules."""
    judged = _judged(evaluations)
    rows = [
        (row.model, row.turns, '', row.executed, None, None, None, None, None if 'no_filter' in row.source else row.low_level,
         row.low_level if 'no_filter' in row.source else None, None, row.high_level, None, None, row.text_match, *[None] * len(judged), '',
         row.source)
        for row in ROWS
    ]  # fmt: skip
    for evaluation in evaluations:
        turns = len(evaluation.turns)
        for choice in ('turn 1', LAST, LAST_EXECUTED, BEST_EXECUTED):
            found = headline(evaluation.papers, choice)
            if found:
                rows.append((evaluation.name, 1 if choice == 'turn 1' else turns, choice, *_paper_cells(found, judged), evaluation.benchmark, OURS))
    return Table('main', 'Chart to code, in points', ('model', 'turns', 'counts', *_HEADS, *(_JUDGED[form] for form in judged), 'benchmark', 'source'),
                 tuple(rows), _notes(evaluations))


def corrections_table(evaluations: Sequence[Evaluation]) -> Table:
    """As MM-ReCoder's comparison of strategies: the last turn against turn 1, over charts whose turn-1 program executes."""
    rows = [(row.model, row.first, row.last, row.average_improvement, row.improve_rate, None, row.repeat_rate, None, row.source) for row in CORRECTIONS]
    for evaluation in evaluations:
        if evaluation.corrections:
            last = evaluation.corrections[-1]
            rows.append((evaluation.name, evaluation.turns[0].low_level, evaluation.turns[-1].low_level, last.average_improvement, last.improve_rate,
                         last.degrade_rate, last.repeat_rate, last.exact_rate, OURS))
    header = ('model', 'low-level, turn 1', 'low-level, last turn', 'average improvement', 'improve rate', 'degrade rate', 'repeat rate',
              'exact repeat rate', 'source')
    return Table('corrections', 'Self-correction, in points', header, tuple(rows))


def turns_table(evaluations: Sequence[Evaluation]) -> Table:
    """Every turn and every rule that chooses one."""
    judged = _judged(evaluations)
    rows = [(evaluation.name, row.choice, *_paper_cells(row, judged), OURS) for evaluation in evaluations for row in evaluation.papers]
    header = ('model', 'counts', *_HEADS, *(_JUDGED[form] for form in judged), 'source')
    return Table('turns', 'Turn by turn, in points', header, tuple(rows), _notes(evaluations))


def breakdown_table(evaluations: Sequence[Evaluation]) -> Table:
    """By type and difficulty of the charts."""
    judged = _judged(evaluations)
    rows = [(evaluation.name, row.by, row.value, row.charts, row.executed_first, row.executed_last, row.low_level_first, row.low_level_last, row.improvement,
             *(getattr(row, form) for form in judged), OURS)
            for evaluation in evaluations for row in evaluation.breakdowns]
    header = ('model', 'by', 'value', 'charts', 'executed, turn 1', 'executed, last turn', 'low-level, turn 1', 'low-level, last turn',
              'average improvement', *(f'{_JUDGED[form]}, last turn' for form in judged), 'source')
    return Table('breakdown', 'By type and difficulty of the charts, in points', header, tuple(rows))


def cards_table(evaluations: Sequence[Evaluation]) -> Table:
    """What decides the numbers of each row of ours."""
    rows = []
    for evaluation in evaluations:
        card = evaluation.card
        if card:
            packages = ', '.join(f'{name} {version}' for name, version in sorted(card.packages.items()) if version)
            seeds = ', '.join(f'{name} {seed}' for name, seed in sorted(card.seeds.items()))
            rows.append((evaluation.name, card.subject, evaluation.benchmark, card.config_hash, card.code_version, packages, card.fonts, seeds,
                         card.judge_model or 'none', card.date, OURS))
    header = ('model', 'subject', 'benchmark', 'config', 'code', 'packages', 'fonts', 'seeds', 'judge', 'date', 'source')
    return Table('cards', 'Reference cards', header, tuple(rows))


def _paper_cells(row: PaperScores, judged: Sequence[str]) -> tuple[Interval, ...]:
    return tuple(getattr(row, form) for form in (*_FORMS, *judged))


def _judged(evaluations: Sequence[Evaluation]) -> list[str]:
    """What a judge was asked for a benchmark and answered, in at least one of them."""
    return [form for form in _JUDGED if any(getattr(row, form).value is not None for evaluation in evaluations for row in evaluation.papers)]


def _notes(evaluations: Sequence[Evaluation]) -> tuple[str, ...]:
    """Why judgements are missing."""
    return tuple(f'{evaluation.name}, {measure}: {reason}.' for evaluation in evaluations for measure, reason in evaluation.absent.items())


def cell_text(cell: Cell) -> str:
    """'71.3 [68.0, 74.5]' for an interval, one decimal for a number, a dash for what was not measured."""
    if isinstance(cell, Interval):
        return MISSING if cell.value is None else f'{cell.value:.1f} [{cell.low:.1f}, {cell.high:.1f}]'
    if cell is None or cell == '':
        return MISSING
    return f'{cell:.2f}'.removesuffix('0') if isinstance(cell, float) else str(cell)


def as_markdown(tables: Sequence[Table]) -> str:
    return '\n'.join(f'## {table.title}\n\n{_markdown(table)}\n' for table in tables)


def _markdown(table: Table) -> str:
    lines = [table.header, ('---',) * len(table.header), *(tuple(map(cell_text, row)) for row in table.rows)]
    rows = ['| ' + ' | '.join(cell.replace('|', '\\|') for cell in line) + ' |' for line in lines]
    return '\n'.join([*rows, *(line for note in table.notes for line in ('', note))])


def as_csv(tables: Sequence[Table]) -> str:
    """Rows of all tables under the name of theirs; an interval takes three columns."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator='\n')
    for table in tables:
        wide = {index for row in table.rows for index, cell in enumerate(row) if isinstance(cell, Interval)}
        names = [[name, f'{name}, low', f'{name}, high'] if index in wide else [name] for index, name in enumerate(table.header)]
        writer.writerow(['table', *(name for group in names for name in group)])
        for row in table.rows:
            writer.writerow([table.name, *(value for index, cell in enumerate(row) for value in _values(cell, index in wide))])
    return buffer.getvalue()


def _values(cell: Cell, wide: bool) -> list:
    if isinstance(cell, Interval):
        return [cell.value, cell.low, cell.high]
    return [cell, None, None] if wide else [cell]


def as_json(tables: Sequence[Table]) -> str:
    def plain(cell: Cell):
        return [cell.value, cell.low, cell.high] if isinstance(cell, Interval) else cell

    content = [{'name': table.name, 'title': table.title, 'header': list(table.header), 'rows': [list(map(plain, row)) for row in table.rows], 'notes': list(table.notes)}
               for table in tables]
    return json.dumps(content, indent=1, ensure_ascii=False) + '\n'


def as_latex(tables: Sequence[Table]) -> str:
    """A table environment each, for the package booktabs; published rows stand above ours."""
    return '\n'.join(_latex(table) for table in tables)


def _latex(table: Table) -> str:
    def line(cells: Sequence[str]) -> str:
        return '  ' + ' & '.join(cell.translate(_LATEX) for cell in cells) + r' \\'

    published = [line(list(map(cell_text, row))) for row in table.rows if OURS not in row]
    ours = [line(list(map(cell_text, row))) for row in table.rows if OURS in row]
    body = [*published, *(['  \\midrule'] if published and ours else []), *ours]
    return '\n'.join([
        r'\begin{table}', r'  \centering', f'  \\caption{{{table.title.translate(_LATEX)}}}', f'  \\begin{{tabular}}{{{"l" * len(table.header)}}}', r'  \toprule',
        line(table.header), r'  \midrule', *body, r'  \bottomrule', r'  \end{tabular}', *(f'  \\par {note.translate(_LATEX)}' for note in table.notes), r'\end{table}', '',
    ])  # fmt: skip


WRITERS = {'md': as_markdown, 'csv': as_csv, 'json': as_json, 'tex': as_latex}
