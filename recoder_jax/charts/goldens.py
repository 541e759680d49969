"""Golden executions, kept by program so that each golden program is executed once, across runs where a directory is given.

    DIRECTORY/matplotlib-3.11.2-elements-3/<hash of the program>.json      the elements of one golden execution, both modes

Another matplotlib draws other figures, and another `elements.VERSION` sees other elements in them: both execute every
golden program again. Renders are not kept: rewards and judges compare with the chart's own image. Only executions that
gave elements are written: a failure may have been the machine's, and is tried again.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, MutableMapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from recoder_jax.charts.chartmimic import ChartMimicElements
from recoder_jax.charts.elements import VERSION, Elements
from recoder_jax.charts.execution import Execution, Status


class Goldens(MutableMapping):
    """Program -> execution without its render. `directory`: None keeps them in memory only."""

    def __init__(self, directory: str | Path | None = None):
        self._met: dict[str, Execution] = {}
        self._directory = None if directory is None else Path(
            directory, f'matplotlib-{version("matplotlib")}-elements-{VERSION}')

    def __getitem__(self, program: str) -> Execution:
        if program not in self._met and (stored := self._read(program)) is not None:
            self._met[program] = stored
        return self._met[program]

    def __setitem__(self, program: str, execution: Execution) -> None:
        self._met[program] = replace(execution, render=None)
        if self._directory is not None and execution.elements is not None:
            with contextlib.suppress(OSError):      # a data directory that cannot be written to only costs time
                self._write(program, execution)

    def __delitem__(self, program: str) -> None:
        del self._met[program]

    def __iter__(self) -> Iterator[str]:
        return iter(self._met)

    def __len__(self) -> int:
        return len(self._met)

    def _file(self, program: str) -> Path:
        return self._directory / f'{hashlib.sha256(program.encode("utf-8", "surrogatepass")).hexdigest()[:32]}.json'

    def _read(self, program: str) -> Execution | None:
        if self._directory is None:
            return None
        try:
            stored = json.loads(self._file(program).read_bytes())
            chartmimic = stored['chartmimic'] and ChartMimicElements.from_json(stored['chartmimic'])
            return Execution(Status.ok, None, Elements.from_json(stored['elements']), '', 0.0, chartmimic,
                             stored['replayed'] is True)
        except (OSError, ValueError, KeyError, TypeError):
            return None      # not there, or damaged: executing it again repairs both

    def _write(self, program: str, execution: Execution) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        file = self._file(program)
        temporary = file.with_suffix(f'.{os.getpid()}.tmp')
        temporary.write_text(json.dumps({
            'elements': execution.elements.to_json(),
            'chartmimic': execution.chartmimic and execution.chartmimic.to_json(),
            'replayed': execution.replayed,
        }))
        os.replace(temporary, file)
