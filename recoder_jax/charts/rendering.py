"""The process of a program that is no Python: its language's renderer makes the pixels, which go back as a frame (`frames`) without elements."""

import time

import numpy as np

from recoder_jax.charts.execution import LOG_CHARACTERS, Limits, Status
from recoder_jax.charts.frames import write_frame
from recoder_jax.charts.isolation import Isolation
from recoder_jax.languages.language import Renderer, Unrendered


def render_program(program: str, renderer: Renderer, limits: Limits, isolation: Isolation, result: int) -> None:
    """Renders a program, by its guest's draft where the renderer has a guest, and writes the frame to the descriptor `result`.

    What a renderer raises beside Unrendered ends the program as an error.
    """
    start, pixels, log = time.perf_counter(), None, ''
    try:
        pixels, status = _pixels(program, renderer, limits, isolation), Status.ok
    except Unrendered as end:
        status, log = Status(end.end), str(end)
    except MemoryError:
        status, log = Status.memory, 'MemoryError'
    except BaseException as error:      # a panic of a native renderer is no Exception
        status, log = Status.error, f'{type(error).__name__}: {error}'
    header = {
        'status': status.value,
        'log': log[:LOG_CHARACTERS],
        'tampered': '',
        'phases': {'execute': 0.0, 'draw': time.perf_counter() - start, 'elements': 0.0},
        'chartmimic': None,
        'figure': None,
    }
    body = memoryview(b'')
    if pixels is not None:
        height, width, _ = pixels.shape
        header['figure'] = {'body': 'pixels', 'height': height, 'width': width, 'reason': '', 'elements': None}
        body = memoryview(pixels.reshape(-1))
    write_frame(result, header, body)


def _pixels(program: str, renderer: Renderer, limits: Limits, isolation: Isolation) -> np.ndarray:
    if renderer.guest is None:
        return renderer.render(program, limits.pixels)
    draft = renderer.guest.draft(program, renderer.guest.path(), limits.pixels)
    isolation.part_from_guest()
    return renderer.render(draft, limits.pixels)
