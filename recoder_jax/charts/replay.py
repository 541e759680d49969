"""Draws a draw list on the trusted side's own renderer and keeps those claims whose ink is still there at the end.

What an element needs:
    text         an operation that draws the string outside of ticks, letters of at least 5 pixels in a font in which
                 letters are letters, half of its ink surviving and standing out from the pixels around it, half of
                 its extent inside canvas and clip
    chart type   operations of a kind that fits the plotting function, tagged with that call only, and 24 surviving
                 pixels
    colour       an operation of the call that carries it, and 4 surviving pixels that show it
    colormap     surviving ink of the call whose colours lie on the map. Names this process has registered are looked
                 up; another map travels as its table and counts as three colours, its ends and its middle
    layout       8 surviving pixels of the axes or of what is in it, in the order of its grid on the canvas, not over
                 another cell, and not over four times the cell's even share
    data         marks with a vertex in an operation of the call that left ink, in axes whose tick labels agree (`drawn_data`)

What remains forgeable: a mark can be claimed for any call whose kind of operation fits (a rectangle as a bar, a grid
line as `plot`, a mesh as `heatmap`); an axes can be claimed for a larger grid with uneven ratios, and several grids for
one; a text can be tagged as part of a tick and is then not counted; a line drawn again over itself counts again while
its edges still change (about four times); of colormaps with the same colours (gray and its reverse) any can be claimed;
an image counts with its greatest alpha. Each mark still has to be drawn and to be seen. What remains forgeable of data
is in `drawn_data`. Elements of the mode `chartmimic` are not held against ink.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.font_manager import FontProperties
from matplotlib.ft2font import FT2Font
from matplotlib.mathtext import MathTextParser

from recoder_jax.charts import footprint
from recoder_jax.charts.claim_form import Claims
from recoder_jax.charts.elements import Elements
from recoder_jax.charts.evidence import believed
from recoder_jax.charts.ink import Ink, on_white
from recoder_jax.charts.ledger import Ledger, Run
from recoder_jax.charts.operations import DrawList, Malformed, Unreplayable, parse

_DPI = 100
_FRAMES = 256          # rectangles of axes that are looked at


@dataclass(frozen=True, eq=False)
class Replay:
    """What a draw list shows: uint8 [H, W, 3] on white, and the elements that have ink."""

    pixels: np.ndarray
    elements: Elements


def mathtext_parser() -> MathTextParser:
    """The parser of an Agg renderer. It keeps what it parsed, so one serves many draw lists."""
    return RendererAgg(1, 1, _DPI).mathtext_parser


def replay(body: bytes, max_pixels: int, parser: MathTextParser | None = None) -> Replay:
    """Draws the list in `body`; Malformed, or Unreplayable where it is over a cap or Agg refuses it."""
    drawing = parse(body, max_pixels)
    claims = Claims.from_json(drawing.claims)
    with warnings.catch_warnings(), _settings(drawing.settings):
        warnings.simplefilter('ignore')
        try:
            return _replay(drawing, claims, parser or mathtext_parser())
        except (Malformed, Unreplayable, MemoryError):
            raise
        except Exception as error:               # Agg, FreeType and mathtext refuse values in ways of their own
            raise Unreplayable(f'{type(error).__name__}: {error}'[:300]) from error


def _replay(drawing: DrawList, claims: Claims, parser: MathTextParser) -> Replay:
    renderer = _Renderer(drawing.width, drawing.height, _DPI)
    renderer.mathtext_parser = parser
    canvas = np.asarray(renderer.buffer_rgba())
    clips = {tuple(operation.gc._cliprect.extents.tolist()) for operation in drawing.operations
             if operation.gc._cliprect is not None}
    ink, ledger = Ink(canvas), Ledger(claims, np.array(sorted(clips)).reshape(-1, 4)[:_FRAMES])
    for run in _runs(drawing, ledger, renderer):
        for operation in run.operations:
            _DRAW[operation.kind](renderer, operation.gc, operation.args)
        ledger.note(run, ink.book(run.box, run.paint))
    ink.finish()
    opaque = (canvas[..., 3] == 255).all()
    pixels = np.ascontiguousarray(canvas[..., :3]) if opaque else on_white(canvas)
    return Replay(pixels, believed(ledger, ink, pixels, renderer))


def _runs(drawing: DrawList, ledger: Ledger, renderer: RendererAgg) -> Iterator[Run]:
    """Successive operations of one painter together, with the box they can touch."""
    run: Run | None = None
    for operation in drawing.operations:
        paint = ledger.enter(operation)
        if operation.kind == 'o':
            operation = footprint.outline(operation, renderer._text2path)
        box = footprint.box(operation, drawing.width, drawing.height)
        if run is not None and run.paint == paint and run.operations[0].tick == operation.tick:
            run.operations.append(operation)
            run.box = _union(run.box, box)
        else:
            if run is not None:
                yield run
            run = Run(paint, [operation], box)
    if run is not None:
        yield run


def _union(a: footprint.Box, b: footprint.Box) -> footprint.Box:
    if b[0] >= b[1] or b[2] >= b[3]:
        return a
    if a[0] >= a[1] or a[2] >= a[3]:
        return b
    return min(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), max(a[3], b[3])


class _Renderer(RendererAgg):
    """Looks a font up once for each entry of the table of fonts."""

    def __init__(self, width: int, height: int, dpi: float):
        super().__init__(width, height, dpi)
        self._found: dict[int, FT2Font] = {}

    def _prepare_font(self, font_prop: FontProperties) -> FT2Font:
        font = self._found.get(id(font_prop))
        if font is None:
            font = self._found[id(font_prop)] = super()._prepare_font(font_prop)
        font.clear()
        font.set_size(font_prop.get_size_in_points(), self.dpi)
        return font


def _draw_collection(renderer: RendererAgg, gc, args: tuple) -> None:
    *rest, hatches = args
    renderer.draw_path_collection(gc, *rest, [], 'screen', **({} if hatches is None else {'hatchcolors': hatches}))


def _draw_text(renderer: RendererAgg, gc, args: tuple) -> None:
    x, y, string, font, angle, ismath, options = args
    renderer.draw_text(gc, x, y, string, font, angle, ismath, _TextOptions(options) if options else None)


class _TextOptions:
    """Stands for the text artist that matplotlib asks for font features and language."""

    def __init__(self, options: dict):
        self._options = options

    def get_fontfeatures(self):
        return self._options.get('features')

    def get_language(self):
        return self._options.get('language')


_DRAW = {
    'p': lambda renderer, gc, args: renderer.draw_path(gc, *args),
    'm': lambda renderer, gc, args: renderer.draw_markers(gc, *args),
    'c': _draw_collection,
    'q': lambda renderer, gc, args: renderer.draw_quad_mesh(gc, *args),
    'g': lambda renderer, gc, args: renderer.draw_gouraud_triangles(gc, *args),
    'i': lambda renderer, gc, args: renderer.draw_image(gc, *args[:3]),
    't': _draw_text,
}


@contextmanager
def _settings(wanted: dict):
    """Settings of the drawing program while its list is drawn."""
    given = matplotlib.rcParams
    changed = {name: value for name, value in wanted.items() if name in given and given[name] != value}
    if not changed:
        yield
        return
    before = {name: given[name] for name in changed}
    _forget_texts()
    try:
        try:
            for name, value in changed.items():
                given[name] = value
        except (ValueError, TypeError) as error:
            raise Malformed(f'a setting that matplotlib refuses: {error}'[:300]) from None
        yield
    finally:
        for name, value in before.items():
            given[name] = value
        _forget_texts()


def _forget_texts() -> None:
    """mathtext keeps parsed strings by font properties, whatever fonts the settings mean by them."""
    MathTextParser._parse_cached.cache_clear()
