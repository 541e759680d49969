"""One draw of a figure: its draw list with claims, or its pixels with elements."""

import time
from collections import Counter
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from recoder_jax.charts.claims import (
    all_axes, cell_of, chart_type, claims_json, color_names, colors_of, in_layout, live_calls, marks_in, tags_of, tick_texts)
from recoder_jax.charts.draw_list import RecordingRenderer
from recoder_jax.charts.elements import (
    MAX_AXES, MAX_CHART_TYPES, MAX_COLORS, MAX_TEXT_LENGTH, MAX_TEXTS, Elements)
from recoder_jax.charts.frames import MAX_BODY
from recoder_jax.charts.marks import WIDTHS, frame_of, series_of, sorted_series
from recoder_jax.charts.recorder import Recorder

_DPI = 100


class PictureTooLarge(Exception):
    """The figure has more pixels than allowed."""


@dataclass(frozen=True, eq=False)
class Picture:
    """A drawn figure.

    Attributes:
        draw_list: what was drawn and what is claimed of it, in the form of `draw_list`; b'' when there is none.
        pixels: uint8 [H, W, 3], where there is no draw list.
        elements: of the figure, where there is no draw list.
        reason: why there is no draw list though one was wanted; ''.
        chartmimic: elements of the score mode of that name as JSON, or None.
        draw_seconds, elements_seconds: time taken.
    """

    draw_list: bytes = b''
    pixels: np.ndarray | None = None
    elements: Elements | None = None
    reason: str = ''
    chartmimic: dict | None = None
    draw_seconds: float = 0.0
    elements_seconds: float = 0.0


def take_picture(figure: Figure, recorder: Recorder, max_pixels: int, replay: bool = False) -> Picture:
    """Draws the figure once at 100 dots an inch; PictureTooLarge before drawing when it is over `max_pixels`.

    With `replay` the draw is recorded; where it cannot be, the figure is drawn again into pixels.
    """
    figure.set_dpi(_DPI)
    canvas = figure.canvas if isinstance(figure.canvas, FigureCanvasAgg) else FigureCanvasAgg(figure)
    width, height = canvas.get_width_height()
    if width < 1 or height < 1:
        raise ValueError(f'the figure has {width} x {height} pixels at {_DPI} dots an inch; give a larger figsize')
    if width * height > max_pixels:
        raise PictureTooLarge(f'the figure has {width} x {height} pixels at {_DPI} dots an inch, '
                              f'more than {max_pixels}; give a smaller figsize')
    axes = all_axes(figure)
    calls = live_calls(axes, recorder)
    start = time.perf_counter()
    reason = ''
    if replay:
        renderer = _record(canvas, recorder, axes, calls)
        drawn = time.perf_counter()
        chartmimic = _chartmimic(figure, recorder)
        body = b'' if renderer.reason else renderer.encode(claims_json(axes, calls))
        reason = renderer.reason or (f'a draw list of {len(body)} bytes' if len(body) > MAX_BODY else '')
        if not reason:
            return Picture(body, chartmimic=chartmimic, draw_seconds=drawn - start,
                           elements_seconds=time.perf_counter() - drawn)
    recorder.texts.clear()
    canvas.draw()
    drawn = time.perf_counter()
    pixels, elements = _pixels(canvas), _elements(figure, recorder, axes)
    return Picture(b'', pixels, elements, reason, _chartmimic(figure, recorder), drawn - start,
                   time.perf_counter() - drawn)


def _record(canvas: FigureCanvasAgg, recorder: Recorder, axes: list[Axes], calls: list) -> RecordingRenderer:
    """Draws on a recording renderer in the place of the canvas's own."""
    own = canvas.get_renderer()
    renderer = RecordingRenderer(own, lambda: recorder.in_tick)
    try:
        with renderer.tagging(tags_of(axes, calls)):
            canvas.renderer = renderer
            canvas.draw()
    finally:
        canvas.renderer = own
    return renderer


def _chartmimic(figure: Figure, recorder: Recorder) -> dict | None:
    """Elements of the mode `chartmimic`; a failure of its hooks is no end of the program."""
    hooks = getattr(recorder, 'chartmimic', None)
    try:
        return None if hooks is None else hooks.elements(figure).to_json()
    except Exception:
        return None


def _pixels(canvas: FigureCanvasAgg) -> np.ndarray:
    rgba = np.asarray(canvas.buffer_rgba())
    if rgba[..., 3].min() == 255:
        return np.asarray(Image.fromarray(rgba).convert('RGB'))      # a third of the time of a strided copy
    alpha = rgba[..., 3:].astype(np.float32) / 255
    return np.rint(rgba[..., :3] * alpha + 255 * (1 - alpha)).astype(np.uint8)


def _elements(figure: Figure, recorder: Recorder, axes: list[Axes]) -> Elements:
    calls = live_calls(axes, recorder)
    types = Counter(map(chart_type, calls))
    colors = dict.fromkeys((chart_type(call), name)
                           for call in calls for color in colors_of(call) for name in color_names(color))
    framed = {id(one) for one in axes if frame_of(one) is not None}
    series = [one for call in calls if id(call.axes) in framed for shape, numbers in marks_in(call)
              for one in series_of(chart_type(call), shape, np.array(numbers).reshape(-1, WIDTHS[shape]))]
    return Elements(
        texts=tuple(sorted(_texts(axes, recorder)[:MAX_TEXTS])),
        layout=tuple(sorted(cell_of(one) for one in filter(in_layout, figure.axes[:MAX_AXES]))),
        chart_types=tuple(sorted(types.items())[:MAX_CHART_TYPES]),
        colors=tuple(sorted(list(colors)[:MAX_COLORS])),
        data=sorted_series(series),
    )


def _texts(axes: list[Axes], recorder: Recorder) -> list[str]:
    of_ticks = set(map(id, tick_texts(axes)))
    lines = []
    for text, drawn in recorder.texts:
        if id(text) not in of_ticks:
            lines += [line.strip()[:MAX_TEXT_LENGTH] for line in drawn.split('\n') if line.strip()]
    return lines
