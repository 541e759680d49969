"""One program in its own process: execute it, draw its figure, write the result.

The result is a frame: header length (4 bytes, little endian), a JSON header, then width x height x 3 bytes of pixels.
"""

import json
import linecache
import os
import random
import traceback
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np

from recoder_jax.charts.elements import Elements
from recoder_jax.charts.execution import LOG_CHARACTERS, Limits, Status
from recoder_jax.charts.picture import Picture, PictureTooLarge, take_picture
from recoder_jax.charts.recorder import Recorder, seed_generators

PROGRAM_NAME = 'program.py'
_FRAMES = 6


@dataclass(frozen=True, eq=False)
class Outcome:
    """What the process says about itself."""

    status: Status
    log: str = ''
    picture: Picture | None = None


def run_program(program: str, recorder: Recorder, limits: Limits, seed: int) -> Outcome:
    """Executes the program as `__main__` in the current directory and draws the figure it means.

    That is the figure saved last (as it was before a later `clf`), else the current one, else the one shown last.
    """
    random.seed(seed)
    seed_generators(seed)
    snapshots = {}

    def keep(figure) -> None:
        snapshots[figure] = take_picture(figure, recorder, limits.pixels)
        recorder.saved = None

    recorder.before_clear = keep
    try:
        _execute(program)
        figure = recorder.saved
        if figure is None and snapshots:
            return Outcome(Status.ok, picture=list(snapshots.values())[-1])
        if figure is None and plt.get_fignums():
            figure = plt.gcf()
        figure = figure or recorder.shown
        if figure is None:
            return Outcome(Status.no_figure, 'the program ended without a figure')
        return Outcome(Status.ok, picture=take_picture(figure, recorder, limits.pixels))
    except PictureTooLarge as error:
        return Outcome(Status.output, str(error))
    except BaseException as error:
        return Outcome(_status_of(error), _log_of(error))


def _execute(program: str) -> None:
    path = os.path.join(os.getcwd(), PROGRAM_NAME)
    linecache.cache[PROGRAM_NAME] = (len(program), None, program.splitlines(True), PROGRAM_NAME)
    code = compile(program, PROGRAM_NAME, 'exec', dont_inherit=True)
    try:
        exec(code, {'__name__': '__main__', '__file__': path, '__builtins__': __builtins__})
    except SystemExit as end:
        if end.code not in (None, 0):
            raise


def _status_of(error: BaseException) -> Status:
    if isinstance(error, MemoryError):
        return Status.memory
    seen = 0
    while isinstance(error, BaseException) and seen < 10:
        if isinstance(error, PermissionError):
            return Status.forbidden
        reason = getattr(error, 'reason', None)      # urllib keeps the cause there
        error = error.__cause__ or (reason if isinstance(reason, BaseException) else error.__context__)
        seen += 1
    return Status.error


def _log_of(error: BaseException) -> str:
    """The frames of the program and the exception; library frames are left out, they carry paths of the machine."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == PROGRAM_NAME]
    where = ''.join(traceback.format_list(frames[-_FRAMES:]))
    what = ''.join(traceback.format_exception_only(type(error), error))[:LOG_CHARACTERS // 2].rstrip()
    head = 'Traceback (most recent call last):\n' if where else ''
    return head + where[-(LOG_CHARACTERS - len(what) - len(head)):] + what


def write_outcome(descriptor: int, outcome: Outcome) -> None:
    """Writes the frame of an outcome to a descriptor."""
    elements: Elements | None = outcome.picture.elements if outcome.picture else None
    pixels = outcome.picture.pixels if outcome.picture else np.zeros((0, 0, 3), np.uint8)
    header = json.dumps({
        'status': outcome.status.value,
        'log': outcome.log,
        'height': pixels.shape[0],
        'width': pixels.shape[1],
        'elements': elements.to_json() if elements else None,
    }).encode()
    for part in (len(header).to_bytes(4, 'little') + header, pixels.reshape(-1)):
        rest = memoryview(part)
        while rest:
            rest = rest[os.write(descriptor, rest):]
