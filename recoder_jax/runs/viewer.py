"""Dialogues as a browsable page: picks them, tags them, and packs them as the JSON that templates/dialogues.js reads."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
import functools
import itertools
import os
from pathlib import Path
from urllib.parse import quote

import jinja2

from recoder_jax.runs.directory import RunDirectory
from recoder_jax.runs.records import DialogueRecord, TurnRecord, encode_numbers

SameProgram = Callable[[str, str], bool]


def same_text(first: str, second: str) -> bool:
    """Equality of programs where nothing better is given: the text without white space at line ends."""
    lines = [[line.rstrip() for line in program.strip().splitlines()] for program in (first, second)]
    return lines[0] == lines[1]


@dataclass(frozen=True)
class Source:
    """Dialogues of one run: `name` labels them, `renders` is the directory their image names are relative to."""

    name: str
    renders: Path
    records: Sequence[DialogueRecord]


def tags_of(record: DialogueRecord, same_program: SameProgram = same_text) -> list[str]:
    """What became of a dialogue, its last turn against turn 1.

    'improved' / 'degraded': low-level higher / lower, where turn 1 executed; 'repaired': turn 1 failed, the last turn
    executed; 'crashed': the last turn failed; 'repeated': equal programs. A single turn can only be 'crashed'.
    """
    if not record.turns:
        return []
    first, last = record.turns[0], record.turns[-1]
    tags = [] if last.executed else ['crashed']
    if len(record.turns) == 1:
        return tags
    if not first.executed and last.executed:
        tags.append('repaired')
    if first.executed:
        gain = last.parts.get('low_level', 0.0) - first.parts.get('low_level', 0.0)
        tags += ['improved'] if gain > 0 else ['degraded'] if gain < 0 else []
    if first.program is not None and last.program is not None:
        if first.program == last.program or same_program(first.program, last.program):
            tags.append('repeated')
    return tags


def pick_dialogues(run: RunDirectory, limit: int) -> tuple[list[DialogueRecord], int]:
    """At most `limit` dialogues of a run, whole groups, spread evenly over its steps; and how many there are.

    A step takes whole groups while its even share lasts and hands what is left, or owed, on to the next step.
    """
    steps = run.rollout_steps()
    picked: list[DialogueRecord] = []
    total = 0
    for number, step in enumerate(steps, start=1):
        records = run.read_rollouts(step)
        total += len(records)
        allowed = limit * number // len(steps)
        for group in _groups(records):
            if len(picked) + len(group) > allowed:
                break
            picked += group
    return picked, total


def _groups(records: Sequence[DialogueRecord]) -> Iterator[list[DialogueRecord]]:
    for _, group in itertools.groupby(records, key=lambda record: record.chart):
        yield list(group)


class _Strings:
    """A table of strings, each stored once: a golden program or a shared turn comes with every branch of its group."""

    def __init__(self):
        self._index: dict[str, int] = {}

    def add(self, text: str | None) -> int | None:
        return None if text is None else self._index.setdefault(text, len(self._index))

    def table(self) -> list[str]:
        return list(self._index)


def dialogue_data(sources: Sequence[Source], page: Path, same_program: SameProgram = same_text) -> dict:
    """The JSON value behind the page.

    page: where the HTML file will stand; image addresses are relative to its directory.
    """
    same_program = functools.cache(same_program)
    strings = _Strings()
    dialogues = [_dialogue(record, number, strings, same_program)
                 for number, source in enumerate(sources) for record in source.records]
    runs = [{'name': source.name, 'renders': _address(source.renders, page)} for source in sources]
    return encode_numbers({'runs': runs, 'strings': strings.table(), 'dialogues': dialogues})


def _address(directory: Path, page: Path) -> str:
    relative = os.path.relpath(Path(directory).resolve(), Path(page).resolve().parent)
    return quote(Path(relative).as_posix()) + '/'


def _dialogue(record: DialogueRecord, run: int, strings: _Strings, same_program: SameProgram) -> dict:
    return {'run': run, 'step': record.step, 'chart': record.chart, 'kind': record.kind, 'branch': record.branch,
            'branch_turn': record.branch_turn, 'golden': strings.add(record.golden or None), 'target': record.target,
            'reward': record.reward, 'tags': tags_of(record, same_program),
            'turns': [_turn(turn, strings) for turn in record.turns]}


def _turn(turn: TurnRecord, strings: _Strings) -> dict:
    # The program is most of the response: it is stored once, the response as what stands before and after it.
    before, found, after = turn.text.partition(turn.program) if turn.program else (turn.text, '', '')
    return {'turn': turn.turn, 'program': strings.add(turn.program), 'before': strings.add(before),
            'after': strings.add(after), 'inside': bool(found), 'status': turn.status, 'log': strings.add(turn.log or None),
            'render': turn.render, 'difference': turn.difference, 'tokens': turn.tokens, 'shared': turn.shared, 'advantage': turn.advantage,
            'parts': {name: round(value, 5) for name, value in turn.parts.items()}}


def environment() -> jinja2.Environment:
    """Templates of the pages. Everything put into them is escaped; `tojson` also escapes for script elements."""
    return jinja2.Environment(loader=jinja2.PackageLoader('recoder_jax.runs'), autoescape=True,
                              trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)


def write_page(path: str | os.PathLike, html: str) -> None:
    """Writes a page, replacing what was there at once. Raises ValueError when the place cannot be written."""
    path = Path(path)
    temporary = path.with_name(f'.{path.name}.tmp')
    try:
        # A lone surrogate, which a tokenizer may decode to, cannot be written as UTF-8.
        temporary.write_text(html, encoding='utf-8', errors='replace')
        os.replace(temporary, path)
    except OSError as error:
        raise ValueError(f'{path} cannot be written ({error.strerror}); choose another place with --out') from error


def write_dialogue_page(path: str | os.PathLike, record: DialogueRecord, images: str | os.PathLike, *,
                        title: str = 'One dialogue', facts: dict[str, str] | None = None,
                        same_program: SameProgram = same_text) -> None:
    """Page of one dialogue, also of one without a golden program or scores.

    images: directory the image names of the record are relative to.
    facts: lines under the title, for example {'checkpoint': ..., 'image': ...}.
    """
    data = dialogue_data([Source('', Path(images), [record])], Path(path), same_program)
    write_page(path, environment().get_template('dialogue.html').render(title=title, facts=facts or {}, data=data))
