"""One program in its own process: execute it, draw its figure, write the result as a frame (`frames`)."""

import builtins
import linecache
import os
import random
import sys
import time
import traceback
import types
from dataclasses import dataclass, replace

import matplotlib.pyplot as plt

from recoder_jax.charts.execution import LOG_CHARACTERS, Limits, Status
from recoder_jax.charts.frames import write_frame
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
    tampered: str = ''
    execute_seconds: float = 0.0


def run_program(program: str, recorder: Recorder, limits: Limits, seed: int, replay: bool = False) -> Outcome:
    """Executes the program as `__main__` in the current directory and draws the figure it means.

    That is the figure saved last (as it was before a later `clf`), else the current one, else the one shown last.
    With `replay` the draw is recorded.
    """
    random.seed(seed)
    seed_generators(seed)
    start = time.perf_counter()
    outcome = _outcome(program, recorder, limits, replay)
    picture = outcome.picture
    drawing = picture.draw_seconds + picture.elements_seconds if picture else 0.0
    seconds = max(0.0, time.perf_counter() - start - drawing)
    return replace(outcome, tampered=recorder.fingerprint.change() if recorder.fingerprint else '',
                   execute_seconds=seconds)


def _outcome(program: str, recorder: Recorder, limits: Limits, replay: bool) -> Outcome:
    snapshots = {}

    def keep(figure) -> None:
        snapshots[figure] = take_picture(figure, recorder, limits.pixels, replay)
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
        return Outcome(Status.ok, picture=take_picture(figure, recorder, limits.pixels, replay))
    except PictureTooLarge as error:
        return Outcome(Status.output, str(error))
    except BaseException as error:
        return Outcome(_status_of(error), _log_of(error))


def _execute(program: str) -> None:
    path = os.path.join(os.getcwd(), PROGRAM_NAME)
    linecache.cache[PROGRAM_NAME] = (len(program), None, program.splitlines(True), PROGRAM_NAME)
    code = compile(program, PROGRAM_NAME, 'exec', dont_inherit=True)
    module = types.ModuleType('__main__')
    vars(module).update(__file__=path, __builtins__=builtins)
    sys.argv[:] = [PROGRAM_NAME]
    sys.modules['__main__'] = module      # pickle and typing look up there what the program defines
    try:
        exec(code, vars(module))
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
    picture = outcome.picture
    figure, body, draw, extract = None, memoryview(b''), 0.0, 0.0
    if picture is not None:
        draw, extract = picture.draw_seconds, picture.elements_seconds
        if picture.pixels is None:
            figure, body = {'body': 'draw_list'}, memoryview(picture.draw_list)
        else:
            height, width, _ = picture.pixels.shape
            figure = {'body': 'pixels', 'height': height, 'width': width, 'reason': picture.reason,
                      'elements': picture.elements.to_json()}
            body = memoryview(picture.pixels.reshape(-1))
    header = {
        'status': outcome.status.value,
        'log': outcome.log,
        'tampered': outcome.tampered,
        'phases': {'execute': outcome.execute_seconds, 'draw': draw, 'elements': extract},
        'chartmimic': picture.chartmimic if picture else None,
        'figure': figure,
    }
    write_frame(descriptor, header, body)
