"""The trusted side's reading of what a program's process wrote. Nothing in it is believed beyond its form."""

import json
import signal
import struct
from dataclasses import dataclass

import numpy as np

from recoder_jax.charts.elements import Elements
from recoder_jax.charts.execution import Execution, Limits, Status, failure

REPLY = struct.Struct('<i?dd')      # an Ending, as the fork server sends it
EXIT_RESULT = 120       # the process could not write its result
EXIT_MEMORY = 121       # it ran out of memory while it wrote its result
EXIT_WALLS = 122        # a wall around it could not be set up
MAX_HEADER = 8_000_000      # over what the caps of Elements and the log can take
# Ends a process may report of itself; the others are seen from outside.
_CLAIMS = (Status.ok, Status.error, Status.memory, Status.output, Status.no_figure, Status.forbidden)


@dataclass(frozen=True)
class Ending:
    """How a process ended, as the fork server saw it.

    Attributes:
        code: exit code, or minus the signal.
        late: whether the server killed it at the deadline.
        seconds: wall time.
        cpu_seconds: user and system time.
    """

    code: int
    late: bool
    seconds: float
    cpu_seconds: float


def max_frame(limits: Limits) -> int:
    """Bytes after which no more of a result is read."""
    return 4 + MAX_HEADER + 3 * limits.pixels


def execution_from(frame: bytes, ending: Ending, limits: Limits) -> Execution:
    """The execution that a frame and the ending of its process stand for; never raises."""
    if ending.late:
        return failure(Status.timeout, f'the program did not end within {limits.seconds:g} s', ending.seconds)
    if len(frame) > max_frame(limits):
        return failure(Status.output, 'the result of the program is over its cap', ending.seconds)
    if ending.code == 0:
        try:
            return _parse(frame, ending.seconds, limits)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            return failure(Status.forbidden, f'the result of the program is malformed: {error}'[:300], ending.seconds)
    return failure(*_early_end(ending, limits), ending.seconds)


def _early_end(ending: Ending, limits: Limits) -> tuple[Status, str]:
    if ending.code == EXIT_MEMORY:
        return Status.memory, 'MemoryError'
    if ending.code == EXIT_WALLS:
        return Status.internal, 'a wall around the program could not be set up'
    if ending.code > 0:
        return Status.error, f'the program ended its process with exit code {ending.code}'
    if -ending.code == signal.SIGXCPU or (-ending.code == signal.SIGKILL and ending.cpu_seconds >= limits.seconds):
        return Status.timeout, f'the program used {ending.cpu_seconds:.1f} s of CPU time'
    if -ending.code == signal.SIGSYS:
        return Status.forbidden, 'the program made a system call that is denied'
    return Status.killed, f'the process of the program was ended by signal {-ending.code}'


def _parse(frame: bytes, seconds: float, limits: Limits) -> Execution:
    length = int.from_bytes(frame[:4], 'little')
    if len(frame) < 4 or not 0 < length <= MAX_HEADER:
        raise ValueError(f'{len(frame)} bytes with a header of {length}')
    header = json.loads(frame[4:4 + length].decode('utf-8'))
    status = Status(header['status'])
    log = header['log']
    if status not in _CLAIMS or not isinstance(log, str):
        raise ValueError(f'status {status.value}')
    if status is not Status.ok:
        return failure(status, log, seconds)
    height, width = header['height'], header['width']
    if type(height) is not int or type(width) is not int or height < 1 or width < 1 or height * width > limits.pixels:
        raise ValueError(f'a render of {str(height)[:20]} x {str(width)[:20]}')
    if len(frame) != 4 + length + 3 * height * width:
        raise ValueError(f'{len(frame)} bytes for a render of {height} x {width}')
    render = np.frombuffer(frame, np.uint8, offset=4 + length).reshape(height, width, 3)
    return Execution(Status.ok, render, Elements.from_json(header['elements']), '', seconds)
