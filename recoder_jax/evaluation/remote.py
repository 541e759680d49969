"""Playing dialogues with a model behind a server: the engine's loop of response, execution and feedback, many charts side by side.

    JOURNAL    one line a finished dialogue: what it was asked with, its responses; playing again asks only for those that are missing

A response that the server refuses after turn 1 (its context is full, say) ends the dialogue: that turn and the later ones have no program.
A dialogue that fails otherwise is left out and named; the next call asks for it again.
"""

import asyncio
import hashlib
import json
import os
import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from recoder_jax.charts.chart import Chart
from recoder_jax.charts.execution import Execution, Status, failure
from recoder_jax.charts.sandbox import Sandbox
from recoder_jax.dialogue.response import parse_response
from recoder_jax.dialogue.turns import Message, Prompts, feedback, opening, prompts_of, revising
from recoder_jax.evaluation.asking import NoResponse, Server, ServerOptions
from recoder_jax.languages.language import Language
from recoder_jax.languages.python import LANGUAGE as PYTHON
from recoder_jax.rewards.judgement import FailureKind

AGAIN = 2  # an execution the sandbox could not run is tried so many times
_PER_DIALOGUE = 64  # seeds of a dialogue; more than it has turns


@dataclass(frozen=True)
class Spoken:
    """One turn: the response and what its program gave. refused: why the server gave no response, '' where it gave one."""

    text: str
    execution: Execution
    refused: str = ''


@dataclass(frozen=True)
class Unplayed:
    """A dialogue that could not be played to its end."""

    chart: str
    kind: FailureKind
    sentence: str


@dataclass(frozen=True)
class Rules:
    """Of the dialogues. language: of the programs. difference: whether feedback shows where render and target differ."""

    turns: int
    seed: int
    language: Language = PYTHON
    difference: bool = False

    @property
    def prompts(self) -> Prompts:
        return prompts_of(self.language)


class Journal:
    """Responses of finished dialogues by chart, in a file that grows by whole lines. A line that was cut off is as if not written."""

    def __init__(self, path: Path, mark: str):
        self._path, self._mark, self._known = path, mark, {}
        content = path.read_bytes() if path.exists() else b''
        if content and not content.endswith(b'\n'):
            content = content[: content.rfind(b'\n') + 1]
            path.write_bytes(content)
        for line in content.splitlines():
            try:
                entry = json.loads(line)
                if entry['mark'] == mark:
                    self._known[entry['chart']] = [(str(text), str(refused)) for text, refused in entry['turns']]
            except (ValueError, KeyError, TypeError):
                continue

    def find(self, chart: str) -> list[tuple[str, str]] | None:
        """(text, refused) of each turn of a chart's dialogue, None where it was not played."""
        return self._known.get(chart)

    def keep(self, chart: str, turns: Sequence[Spoken]) -> None:
        self._known[chart] = [(turn.text, turn.refused) for turn in turns]
        line = json.dumps({'mark': self._mark, 'chart': chart, 'turns': self._known[chart]})
        with self._path.open('ab') as file:
            file.write(line.encode() + b'\n')
            file.flush()
            os.fsync(file.fileno())


def mark_of(options: ServerOptions, rules: Rules) -> str:
    """Changes with everything that decides what is said: model, sampling, images, prompts, turns, seed; not with addresses and deadlines."""
    said = {'model': options.model, 'temperature': options.temperature, 'tokens': options.response_tokens, 'pixels': options.max_pixels}
    return hashlib.sha256(json.dumps([said, rules.turns, rules.seed, rules.difference, asdict(rules.prompts)], sort_keys=True).encode()).hexdigest()[:16]


def play_remote(options: ServerOptions, charts: Sequence[Chart], rules: Rules, sandbox: Sandbox, journal: Journal,
                done: Callable[[], None] = lambda: None) -> tuple[list[tuple[Spoken, ...] | None], list[Unplayed]]:  # fmt: skip
    """The turns of each chart's dialogue in the order of `charts`, None for those of the second list. Raises WrongServer."""
    return asyncio.run(_play_all(options, charts, rules, sandbox, journal, done))


async def _play_all(options, charts, rules, sandbox, journal, done):
    server, limit = Server(options), asyncio.Semaphore(options.concurrency + sandbox.workers)
    unplayed: list[Unplayed] = []

    async def one(chart: Chart) -> tuple[Spoken, ...] | None:
        try:
            async with limit:
                return await _Dialogue(server, sandbox, rules, chart).play(journal)
        except NoResponse as error:
            unplayed.append(Unplayed(chart.id, error.kind, str(error)))
            return None
        finally:
            done()

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(chart)) for chart in charts]
    except ExceptionGroup as errors:  # one is the cause, the others were cancelled
        raise errors.exceptions[0] from None
    finally:
        await server.close()
    return [task.result() for task in tasks], unplayed


class _Dialogue:
    """The dialogue over one chart."""

    def __init__(self, server: Server, sandbox: Sandbox, rules: Rules, chart: Chart):
        self._server, self._sandbox, self._rules, self._chart = server, sandbox, rules, chart

    async def play(self, journal: Journal) -> tuple[Spoken, ...]:
        known = journal.find(self._entry)
        if known is not None:
            return tuple([Spoken(text, await self._execute(text) if not refused else failure(Status.error, refused), refused) for text, refused in known])
        turns, messages = [], [*opening(self._chart.shown, self._rules.prompts, self._chart.instruction)]
        while len(turns) < self._rules.turns:
            try:
                text = await self._server.ask(messages, self._seed(len(turns)))
            except NoResponse as error:
                if not turns or error.kind not in (FailureKind.refused, FailureKind.too_large):
                    raise
                turns += [Spoken('', failure(Status.error, str(error)), str(error))] * (self._rules.turns - len(turns))
                break
            turns.append(Spoken(text, await self._execute(text)))
            messages += [Message('assistant', (text,)), self._feedback(turns[-1])]
        journal.keep(self._entry, turns)
        return tuple(turns)

    @property
    def _entry(self) -> str:
        """Of the journal: the chart, and what is asked for."""
        asked = self._chart.instruction
        return f'{self._chart.id} {hashlib.sha256(asked.encode("utf-8", "replace")).hexdigest()[:12]}' if asked else self._chart.id

    def _seed(self, turn: int) -> int:
        """Of the chart alone, whatever is played beside it."""
        return (self._rules.seed * 1_000_003 + zlib.crc32(self._chart.id.encode()) * _PER_DIALOGUE + turn) % 2**31

    async def _execute(self, text: str) -> Execution:
        program = parse_response(text, self._rules.language).program or ''
        for _ in range(AGAIN):
            execution = await asyncio.wrap_future(self._sandbox.submit(program))
            if execution.status is not Status.internal:
                break
        return execution

    def _feedback(self, turn: Spoken) -> Message:
        log = turn.execution.log if parse_response(turn.text, self._rules.language).program is not None else self._rules.language.missing
        shown: np.ndarray | None = self._chart.image if self._rules.difference and not self._chart.instruction else None
        return feedback(turn.execution.render, log, revising(self._rules.prompts, self._chart.instruction), shown)
