"""From the items of a published data set to a set of ours: what cannot be used is counted by its reason and left out, the rest is written.

    read (one module a data set) ──► Item ──► checked text ──► decoded image ──► verified in the sandbox ──► ChartRecord
                                               │                │                │
                                               └────────────────┴────────────────┴──► Tally: reason and id of each drop

Verdicts of the sandbox are kept beside the set while it is built, so that a build that was killed does not execute a program twice.
"""

import ast
import contextlib
import functools
import hashlib
import json
import shutil
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
from tqdm import tqdm

from recoder_jax.charts.chart import Chart
from recoder_jax.charts.execution import Execution, Limits, Status
from recoder_jax.charts.sandbox import Sandbox
from recoder_jax.charts.scores import rule_score
from recoder_jax.data.archives import fingerprint, unpacked
from recoder_jax.data.builders import ChartRecord
from recoder_jax.data.building import BUILDING, Built, Request, Tally, build, failure_reason, find_standing
from recoder_jax.dialogue.images import decode_image, encode_png, load_image
from recoder_jax.dialogue.response import write_response

VERIFIED = 'ok'
MAX_PROGRAM_BYTES = Limits().program_bytes
AHEAD = 8  # items under way for each worker
VERIFY = ('none', 'fixed', 'chartmimic')


@dataclass(frozen=True)
class Item:
    """One record as it was published. program: None where it has none. image, reference: encoded bytes or a file, None where it has none. instruction,
    reference, title, csv: as of a `Chart`; those that are among the extras of the request must be there."""

    id: str
    program: str | bytes | None
    image: bytes | Path | None
    kind: str = ''
    think: str = ''
    origin: str = ''
    instruction: str = ''
    reference: bytes | Path | None = None
    title: str = ''
    csv: str = ''


Splits = Mapping[str, Callable[[Tally], Iterator[Item]]]  # split name -> function that starts its items; it may drop records of its own


@dataclass(frozen=True)
class Options:
    """How a set is built.

    verify: 'none'; 'fixed' executes each golden program twice and keeps those that score 1.0 against themselves; 'chartmimic' also in that
    mode. render_missing: an item without an image gets the render of its program, else it is dropped. workers: programs side by side.
    """

    verify: str = 'none'
    render_missing: bool = False
    workers: int = 2
    limits: Limits = Limits()

    def __post_init__(self):
        if self.verify not in VERIFY:
            raise ValueError(f'--verify is {self.verify!r}; choose {", ".join(VERIFY[:-1])} or {VERIFY[-1]}')


def prepare_released(request: Request, source: str | Path, splits_of: Callable[[list[Path]], Splits], out: str | Path, options: Options) -> Built:
    """Builds a set from `source`, a directory or an archive. splits_of: directories that hold its files -> its splits.

    Raises FileNotFoundError or ValueError with one sentence for a source that is not the published set, and what `build` raises.
    """
    source, building = Path(source), Path(out, BUILDING)
    if not source.exists():
        raise FileNotFoundError(f'there is no {str(source)!r}; give the directory or the archive that was downloaded')
    arguments = {'source_sha256': fingerprint(source), 'verify': options.verify, 'render_missing': options.render_missing, 'seconds': options.limits.seconds}
    request = replace(request, arguments={**request.arguments, **arguments})
    standing = find_standing(request, out)
    if standing:
        return standing
    tally, verdicts = Tally(), Verdicts(building / f'{request.name}.{request.config}.verdicts')
    with unpacked(source, building, tally) as directories, contextlib.ExitStack() as stack:
        maker = _Maker(stack, options, verdicts, tally, request)
        splits = {split: lambda items=items, split=split: maker.records(split, items(tally)) for split, items in splits_of(directories).items()}
        built = build(request, splits, tally, out)
    verdicts.remove()
    return built


class Verdicts:
    """What the sandbox said of programs, in a directory: a line a program, and renders that are needed as images."""

    def __init__(self, directory: Path):
        self._directory, self._file = directory, directory / 'verdicts.jsonl'
        self._known: dict[str, str] = {}
        for line in self._file.read_bytes().splitlines() if self._file.exists() else ():
            try:
                entry = json.loads(line)
                self._known[entry['program']] = entry['verdict']
            except (ValueError, KeyError, TypeError):
                continue      # a line that was cut off

    def find(self, key: str) -> str | None:
        return self._known.get(key)

    def render(self, key: str) -> np.ndarray | None:
        file = self._directory / f'{key}.png'
        return load_image(file) if file.exists() else None

    def keep(self, key: str, verdict: str, render: np.ndarray | None) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        if render is not None:
            (self._directory / f'{key}.png').write_bytes(encode_png(render))
        self._known[key] = verdict
        with self._file.open('a', encoding='utf-8') as file:
            file.write('\n' + json.dumps({'program': key, 'verdict': verdict}))      # in front, so that a line cut off spoils no other

    def remove(self) -> None:
        shutil.rmtree(self._directory, ignore_errors=True)


@dataclass(frozen=True)
class _Waiting:
    """An item whose images are being decoded and whose program runs. executions: empty where its verdict is known, or none is asked for."""

    item: Item
    program: str
    image: Future
    reference: Future
    executions: tuple[Future, ...]


class _Maker:
    """Makes records of items, several of them under way at a time, in their order. stack: closes what is started; a sandbox is when a program runs."""

    def __init__(self, stack: contextlib.ExitStack, options: Options, verdicts: Verdicts, tally: Tally, request: Request):
        self._stack, self._options, self._verdicts, self._tally, self._request = stack, options, verdicts, tally, request
        self._pool = stack.enter_context(ThreadPoolExecutor(options.workers))
        self._ids: set[str] = set()

    @functools.cached_property
    def _sandbox(self) -> Sandbox:
        return self._stack.enter_context(Sandbox(self._options.workers, self._options.limits))

    def records(self, split: str, items: Iterable[Item]) -> Iterator[ChartRecord]:
        waiting, ahead = deque(), AHEAD * self._options.workers
        for item in tqdm(items, f'{self._request.name} {split}', unit='chart', mininterval=1):
            begun = self._begin(item)
            if begun:
                waiting.append(begun)
            if len(waiting) > ahead:
                yield from self._end(waiting.popleft())
        while waiting:
            yield from self._end(waiting.popleft())

    def _begin(self, item: Item) -> _Waiting | None:
        try:
            ''.join((item.id, item.kind, item.think, item.origin, item.instruction, item.title, item.csv)).encode('utf-8')
        except UnicodeError:
            return self._tally.drop('not UTF-8', item.id.encode('utf-8', 'replace').decode('utf-8'))
        program = checked_program(item, self._tally)
        if program is None:
            return None
        if item.id in self._ids:
            return self._tally.drop('duplicate id', item.id)
        self._ids.add(item.id)
        if item.image is None and not self._options.render_missing:
            return self._tally.drop('image missing', item.id)
        missing = next((name for name in self._request.extras if not getattr(item, name)), None)
        if missing:
            return self._tally.drop(f'{missing} missing', item.id)
        image, reference = self._pool.submit(_decoded, item.image), self._pool.submit(_decoded, item.reference)
        return _Waiting(item, program, image, reference, tuple(self._sandbox.submit(program) for _ in range(self._runs(item, program))))

    def _asked(self, item: Item) -> bool:
        """Whether a verdict of the sandbox decides about the item."""
        return self._options.verify != 'none' or item.image is None

    def _runs(self, item: Item, program: str) -> int:
        """How often the program is to run: twice to be verified, once for its render, not where what is needed is known."""
        verdict = self._verdicts.find(self._key(program))
        known = verdict is not None and (item.image is not None or verdict != VERIFIED or self._verdicts.render(self._key(program)) is not None)
        return 0 if known or not self._asked(item) else 1 if self._options.verify == 'none' else 2

    def _key(self, program: str) -> str:
        asked = f'{self._options.verify}\0{self._options.limits}\0{version("matplotlib")}\0{program}'
        return hashlib.sha256(asked.encode('utf-8', 'surrogatepass')).hexdigest()[:32]

    def _end(self, waiting: _Waiting) -> Iterator[ChartRecord]:
        item, key = waiting.item, self._key(waiting.program)
        if waiting.executions:
            executions = [future.result() for future in waiting.executions]
            reason = verdict_of(executions, self._options.verify)
            self._verdicts.keep(key, reason, executions[0].render if item.image is None and reason == VERIFIED else None)
        if self._asked(item) and (verdict := self._verdicts.find(key)) != VERIFIED:
            self._tally.drop(verdict, item.id)
            return
        image = waiting.image.result() if item.image is not None else self._verdicts.render(key)
        if isinstance(image, str):
            self._tally.drop(image, item.id)
            return
        reference = waiting.reference.result()
        if isinstance(reference, str):
            self._tally.drop(reference.replace('image', 'reference'), item.id)
            return
        chart = Chart(item.id, image, waiting.program, item.kind, item.instruction, reference, item.title, item.csv)
        yield ChartRecord(chart, think=item.think, licence=self._request.licence, origin=item.origin or self._request.origin)


def checked_program(item: Item, tally: Tally) -> str | None:
    """The program as text with Unix line ends; None where it cannot be used, which is counted."""
    program = item.program
    if not isinstance(program, str | bytes | None):
        return tally.drop('record of another form', item.id)
    if program is None or not program.strip():
        return tally.drop('program missing', item.id)
    if len(program) > MAX_PROGRAM_BYTES:
        return tally.drop(f'program over {MAX_PROGRAM_BYTES} bytes', item.id)
    try:
        program = program.decode('utf-8-sig') if isinstance(program, bytes) else program
        program.encode('utf-8')
    except UnicodeError:
        return tally.drop('not UTF-8', item.id)
    if '\r' in program:
        tally.repair('Windows line ends')
        program = program.replace('\r\n', '\n').replace('\r', '\n')
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')      # invalid escapes are the program's own affair
            ast.parse(program)
        write_response('', program)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return tally.drop('program does not parse' if not isinstance(error, ValueError) else 'not a program that a response can hold', item.id)
    return program


def verdict_of(executions: list[Execution], verify: str) -> str:
    """VERIFIED, or why a golden program cannot be used."""
    failed = next((execution for execution in executions if not execution.ok), None)
    if failed is not None:
        return 'golden program: ' + ('forbidden' if failed.status is Status.forbidden else failure_reason(failed))
    if verify != 'none' and rule_score(executions[0], executions[1]).low_level < 1:
        return 'golden program: two executions differ'
    if verify == 'chartmimic' and rule_score(*executions, mode='chartmimic').low_level < 1 - 1e-9:
        return 'golden program: below 1.0 against itself in chartmimic mode'
    return VERIFIED


def _decoded(image: bytes | Path | None) -> np.ndarray | str | None:
    """The pixels, or why there are none."""
    if image is None:
        return None
    try:
        return load_image(image) if isinstance(image, Path) else decode_image(image)
    except FileNotFoundError:
        return 'image missing'
    except ValueError:
        return 'image damaged'

