"""How the execution of a program ended, and what it gave."""

from dataclasses import dataclass
from enum import Enum

import numpy as np

from recoder_jax.charts.elements import Elements

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


@dataclass(frozen=True, eq=False)
class Execution:
    """What running a program gave.

    Attributes:
        status: how it ended.
        render: uint8 [H, W, 3], read-only, the figure at 100 dots an inch; None unless ok.
        elements: what the figure shows; None unless ok.
        log: the last lines of the traceback or a sentence, at most LOG_CHARACTERS; '' when ok.
        seconds: wall time from fork to the end of the process.
    """

    status: Status
    render: np.ndarray | None
    elements: Elements | None
    log: str
    seconds: float

    @property
    def ok(self) -> bool:
        return self.status is Status.ok


def failure(status: Status, log: str, seconds: float = 0.0) -> Execution:
    """An execution without a render."""
    return Execution(status, None, None, log[-LOG_CHARACTERS:], seconds)
