"""How the execution of a program ended, and what it gave."""

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

import numpy as np

from recoder_jax.charts.elements import Elements

if TYPE_CHECKING:      # its imports may start threads, which a fork server must not have before its namespaces
    from recoder_jax.charts.chartmimic import ChartMimicElements

LOG_CHARACTERS = 2_000


class Status(str, Enum):
    """The ends a program can have."""

    ok = 'ok'                  # a figure was drawn
    error = 'error'            # an exception, or the program ended its own process
    timeout = 'timeout'        # the wall deadline or the CPU limit passed
    memory = 'memory'          # the address space limit was reached
    output = 'output'          # the figure or the result is over its cap
    no_figure = 'no_figure'    # the program ran and left no figure
    forbidden = 'forbidden'    # the program ended on an operation the sandbox denies, or tampered with its result
    killed = 'killed'          # a signal ended the process
    internal = 'internal'      # the sandbox could not run the program


@dataclass(frozen=True)
class Limits:
    """Bounds of one execution.

    Attributes:
        seconds: wall time from fork to the end of drawing and extraction.
        memory_mb: address space of the process.
        file_mb: size of one file the program writes; its scratch directory holds 4 times as much where a file system
            of its own can be mounted.
        pixels: height x width of the render at 100 dots an inch.
        program_bytes: length of the program.
    """

    seconds: float = 10.0
    memory_mb: int = 2048
    file_mb: int = 16
    pixels: int = 4_000_000
    program_bytes: int = 1_000_000

    def __post_init__(self):
        for name in ('seconds', 'memory_mb', 'file_mb', 'pixels', 'program_bytes'):
            if not getattr(self, name) > 0:
                raise ValueError(f'limit {name} is {getattr(self, name)}; give a positive number')


@dataclass(frozen=True)
class Phases:
    """Seconds of one execution: `execute`, `draw` and `elements` as the process claims, `replay` as measured here."""

    execute: float = 0.0
    draw: float = 0.0
    elements: float = 0.0
    replay: float = 0.0


@dataclass(frozen=True, eq=False)
class Execution:
    """What running a program gave.

    Attributes:
        status: how it ended.
        render: uint8 [H, W, 3], read-only, the figure at 100 dots an inch; None unless ok.
        elements: what the figure shows; None unless ok, and in a language that has none.
        log: the last lines of the traceback or a sentence, at most LOG_CHARACTERS; '' when ok.
        seconds: wall time from fork to the end of the process.
        chartmimic: what the score mode `chartmimic` compares, as the process claims; None where it is not recorded.
        replayed: whether render and elements come from a replay on this side.
        tampered: the sign that the program reached for its own result; '' when there is none. A hint: its absence
            proves nothing.
        phases: where the time went; None unless ok.
    """

    status: Status
    render: np.ndarray | None
    elements: Elements | None
    log: str
    seconds: float
    chartmimic: 'ChartMimicElements | None' = None
    replayed: bool = False
    tampered: str = ''
    phases: Phases | None = None

    @property
    def ok(self) -> bool:
        return self.status is Status.ok


def failure(status: Status, log: str, seconds: float = 0.0, tampered: str = '') -> Execution:
    """An execution without a render."""
    return Execution(status, None, None, log[-LOG_CHARACTERS:], seconds, tampered=tampered)
