"""The results table: one row an evaluation, as Markdown or as text for a terminal."""

from collections.abc import Sequence

from recoder_jax.runs.records import Evaluation, Interval

MISSING = '–'
OF_PICTURES = '*'
NOTE = f'{OF_PICTURES} image similarity: the programs of this language have no elements to compare'


def results_table(evaluations: Sequence[Evaluation], *, turns: Sequence[int] = (1, 2), intervals: bool = False,
                  markdown: bool = True) -> str:
    """Executed and low-level at `turns`, then the corrections of the last of them over turn 1, in points.

    intervals: adds the 95 % bootstrap interval in brackets. A cell that was not measured holds a dash. Low-level of a language without elements is
    the image similarity, which a star and a line below the table say.
    Raises ValueError without an evaluation.
    """
    if not evaluations:
        raise ValueError('there is no evaluation to put into a table; run `python -m recoder_jax.evaluate` first')
    header = ['', *(f'executed, turn {turn}' for turn in turns), *(f'low-level, turn {turn}' for turn in turns)]
    if turns[-1] > 1:
        header += ['average improvement', 'improve rate', 'degrade rate', 'repeat rate']
    rows = [header, *(_row(evaluation, turns, intervals) for evaluation in evaluations)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    lines = [_line(row, widths, markdown) for row in rows]
    rule = '|'.join(['', '-' * (widths[0] + 2), *('-' * (width + 1) + ':' for width in widths[1:]), ''])
    lines.insert(1, rule if markdown else '-' * len(lines[0]))
    if any(evaluation.compared == 'pictures' for evaluation in evaluations):
        lines += ['', NOTE]
    return '\n'.join(lines)


def format_interval(interval: Interval, *, intervals: bool = True, signed: bool = False) -> str:
    """'71.3 [68.0, 74.5]', or the value alone."""
    if interval.value is None:
        return MISSING
    sign = '+' if signed else ''
    text = format(interval.value, f'{sign}.1f')
    return f'{text} [{interval.low:{sign}.1f}, {interval.high:{sign}.1f}]' if intervals else text


def _row(evaluation: Evaluation, turns: Sequence[int], intervals: bool) -> list[str]:
    scores = {row.turn: row for row in evaluation.turns}
    row = [evaluation.name]
    star = OF_PICTURES if evaluation.compared == 'pictures' else ''
    for part, mark in ((lambda turn: turn.executed, ''), (lambda turn: turn.low_level, star)):
        row += [format_interval(part(scores[turn]), intervals=intervals) + mark if turn in scores else MISSING for turn in turns]
    if turns[-1] == 1:
        return row
    correction = next((entry for entry in evaluation.corrections if entry.turn == turns[-1]), None)
    if correction is None:
        return row + [MISSING] * 4
    return row + [format_interval(correction.average_improvement, intervals=intervals, signed=True),
                  format_interval(correction.improve_rate, intervals=intervals),
                  format_interval(correction.degrade_rate, intervals=intervals),
                  format_interval(correction.repeat_rate, intervals=intervals)]


def _line(row: Sequence[str], widths: Sequence[int], markdown: bool) -> str:
    cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))]
    return '| ' + ' | '.join(cells) + ' |' if markdown else '  '.join(cells).rstrip()
