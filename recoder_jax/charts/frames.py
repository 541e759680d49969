"""The trusted side's reading of what a program's process wrote. Nothing in it is believed beyond its form.

    frame = 4 bytes length of the header (little endian), header, body

    status, log    how the program ended, as it says
    tampered       sign of tampering that its process saw, or ''
    phases         {execute, draw, elements}: seconds
    chartmimic     elements of that score mode, or null
    figure         null, or {body: 'draw_list'}: the body is a draw list, or {body: 'pixels', height, width, elements,
                   reason}: the body is height x width x 3 bytes, and there is no draw list for that reason;
                   elements is null in a language that has none
"""

import json
import math
import os
import signal
import struct
from dataclasses import dataclass

import numpy as np

from recoder_jax.charts.elements import Elements
from recoder_jax.charts.execution import LOG_CHARACTERS, Limits, Phases, Status

REPLY = struct.Struct('<i?dd')      # an Ending, as the fork server sends it
EXIT_RESULT = 120       # the process could not write its result
EXIT_MEMORY = 121       # it ran out of memory while it wrote its result
EXIT_WALLS = 122        # a wall around it could not be set up
MAX_HEADER = 8_000_000      # over what the caps of elements and the log can take
MAX_BODY = 64_000_000       # bytes of a draw list
MAX_REASON = 300            # characters of a sentence from a process
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


@dataclass(frozen=True, eq=False)
class Frame:
    """A frame of the right form.

    Attributes:
        status, log, tampered, phases: as the header says.
        chartmimic: JSON of unknown form.
        draw_list: bytes of unknown form; None where there are pixels or no figure.
        pixels: uint8 [H, W, 3], read-only, or None.
        elements: those that came with pixels, or None.
        reason: why there are pixels.
    """

    status: Status
    log: str
    tampered: str
    phases: Phases
    chartmimic: object = None
    draw_list: memoryview | None = None
    pixels: np.ndarray | None = None
    elements: Elements | None = None
    reason: str = ''


def max_frame(limits: Limits) -> int:
    """Bytes after which no more of a result is read."""
    return 4 + MAX_HEADER + max(3 * limits.pixels, MAX_BODY)


def early_end(ending: Ending, limits: Limits) -> tuple[Status, str] | None:
    """Status and sentence for a process that did not end by itself with a result; None for one that did."""
    if ending.late:
        return Status.timeout, f'the program did not end within {limits.seconds:g} s'
    if ending.code == 0:
        return None
    if ending.code == EXIT_MEMORY:
        return Status.memory, 'MemoryError'
    if ending.code == EXIT_WALLS:
        return Status.internal, 'a wall around the program could not be set up'
    if ending.code > 0:
        return Status.error, f'the program ended its process with exit code {ending.code}'
    if -ending.code == signal.SIGXCPU or (-ending.code == signal.SIGKILL and ending.cpu_seconds >= limits.seconds):
        return Status.timeout, f'the program used {ending.cpu_seconds:.1f} s of CPU time'
    if -ending.code == signal.SIGXFSZ:
        return Status.output, 'the program wrote more files, or deeper, than its scratch directory holds'
    if -ending.code == signal.SIGSYS:
        return Status.forbidden, 'the program made a system call that is denied'
    return Status.killed, f'the process of the program was ended by signal {-ending.code}'


def write_frame(descriptor: int, header: dict, body: memoryview) -> None:
    """Writes a frame to a descriptor."""
    encoded = json.dumps(header).encode()
    for part in (len(encoded).to_bytes(4, 'little') + encoded, body):
        rest = memoryview(part)
        while rest:
            rest = rest[os.write(descriptor, rest):]


def parse_frame(frame: bytes, limits: Limits, elements: bool = True) -> Frame:
    """The frame in these bytes; ValueError for another form. elements: whether pixels come with elements."""
    length = int.from_bytes(frame[:4], 'little')
    if len(frame) < 4 or not 0 < length <= min(MAX_HEADER, len(frame) - 4):
        raise ValueError(f'{len(frame)} bytes with a header of {length}')
    try:
        header = json.loads(frame[4:4 + length].decode('utf-8'))
        return _frame(header, memoryview(frame)[4 + length:], limits, elements)
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f'{type(error).__name__}: {error}') from None


def _frame(header: dict, body: memoryview, limits: Limits, elements: bool) -> Frame:
    status, log, tampered = Status(header['status']), header['log'], header['tampered']
    if status not in _CLAIMS or not isinstance(log, str) or not isinstance(tampered, str):
        raise ValueError(f'status {status.value}')
    phases = Phases(*(_seconds(header['phases'][name]) for name in ('execute', 'draw', 'elements')))
    said = status, log[-LOG_CHARACTERS:], tampered[:MAX_REASON], phases
    figure = header['figure']
    if (status is Status.ok) != (figure is not None):
        raise ValueError(f'status {status.value} {"without" if figure is None else "with"} a figure')
    if figure is None:
        if len(body):
            raise ValueError(f'{len(body)} bytes after a result without a figure')
        return Frame(*said)
    if figure['body'] == 'draw_list':
        if len(body) > MAX_BODY:
            raise ValueError(f'a draw list of {len(body)} bytes')
        return Frame(*said, header['chartmimic'], draw_list=body)
    reason = figure['reason']
    if figure['body'] != 'pixels' or not isinstance(reason, str):
        raise ValueError('a body of an unknown kind')
    if not elements and figure['elements'] is not None:
        raise ValueError('elements in a language that has none')
    return Frame(*said, header['chartmimic'], pixels=pixels_of(body, figure, limits),
                 elements=Elements.from_json(figure['elements']) if elements else None, reason=reason[:MAX_REASON])


def _seconds(value: object) -> float:
    if type(value) not in (int, float) or not 0 <= value < math.inf:
        raise ValueError('a phase that is no time')
    return float(value)


def pixels_of(body: memoryview, header: dict, limits: Limits) -> np.ndarray:
    """uint8 [height, width, 3] with the sizes the header names; ValueError when they do not fit."""
    height, width = header['height'], header['width']
    if type(height) is not int or type(width) is not int or height < 1 or width < 1 or height * width > limits.pixels:
        raise ValueError(f'a render of {str(height)[:20]} x {str(width)[:20]}')
    if len(body) != 3 * height * width:
        raise ValueError(f'{len(body)} bytes for a render of {height} x {width}')
    pixels = np.frombuffer(body, np.uint8).reshape(height, width, 3)
    pixels.flags.writeable = False
    return pixels
