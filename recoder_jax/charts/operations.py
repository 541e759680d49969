"""Reads a draw list: checks its form against the schema of `draw_list` and turns its rows into operations.

The list comes from the process of a program. Every index, type, size, count and number is checked before it reaches
the renderer; coordinates may be infinite or NaN, as they are in honest figures.
"""

import json
import math
from dataclasses import dataclass, field

import numpy as np
from matplotlib import font_manager
from matplotlib.backend_bases import GraphicsContextBase
from matplotlib.font_manager import FontProperties
from matplotlib.path import Path
from matplotlib.transforms import Bbox

from recoder_jax.charts.draw_list import MAGIC, SETTINGS
from recoder_jax.charts.frames import MAX_BODY

MAX_INDEX = 24_000_000
MAX_OPERATIONS = 200_000
MAX_COPIES = 2_000_000          # paths drawn by one collection
_MAX_ROWS = 500_000
_MAX_STRING = 5_000
_MAX_FONT_SIZE = 2_000.0
_MAX_WIDTH = 100_000.0
_MIN_DASH = 0.01                # points in one period of dashes; Agg walks along them
_CODES = np.isin(np.arange(256), [0, 1, 2, 3, 4, 79])
_STYLES = ('butt', 'projecting', 'round'), ('miter', 'round', 'bevel')


class Malformed(ValueError):
    """The list has a form that `draw_list` does not write."""


class Unreplayable(ValueError):
    """The list has the right form and asks for more than is replayed."""


@dataclass(eq=False, slots=True)
class Operation:
    """One call of a renderer method.

    Attributes:
        kind: letter of the method, as in `draw_list`.
        axes, call: claims it is tagged with, -1 for none.
        tick: whether it belongs to a tick.
        gc: graphics state.
        args: what follows the graphics state in the row, decoded.
    """

    kind: str
    axes: int
    call: int
    tick: bool
    gc: GraphicsContextBase
    args: tuple


@dataclass(eq=False)
class DrawList:
    """A checked draw list; `claims` is checked by `replay`."""

    width: int
    height: int
    settings: dict
    claims: object
    operations: list[Operation] = field(default_factory=list)


class State(GraphicsContextBase):
    """A graphics state whose clip and hatch paths are given instead of derived."""

    def get_clip_path(self):
        return self.clip

    def get_hatch_path(self, density=6.0):
        return self.hatch_path


def parse(body: bytes, max_pixels: int) -> DrawList:
    """The draw list in `body`; Malformed or Unreplayable."""
    body = bytearray(body)          # arrays in it can be written to, which Agg of matplotlib 3.10 wants of an image
    if len(body) > MAX_BODY:
        raise Unreplayable(f'the draw list has {len(body)} bytes, more than {MAX_BODY}')
    length = int.from_bytes(body[4:8], 'little')
    if body[:4] != MAGIC or length > MAX_INDEX or length % 8 or len(body) < 8 + length:
        raise Malformed('the draw list has no index')
    try:
        index = json.loads(body[8:8 + length])
        return _Parser(index, body, 8 + length).draw_list(max_pixels)
    except (Malformed, Unreplayable):
        raise
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, OverflowError, RecursionError) as error:
        raise Malformed(f'the draw list is malformed: {type(error).__name__}: {error}'[:300]) from None


class _Parser:
    """Decodes the tables in the order in which they refer to each other, then the operations."""

    def __init__(self, index: dict, body: bytes, start: int):
        self._index = index
        self.arrays = self._read_arrays(body, start)
        self.affines = [_affine(row) for row in _rows(index['affines'])]
        self.paths = [self._path(*row) for row in _rows(index['paths'])]
        self.gcs = [self._gc(*row) for row in _rows(index['gcs'])]
        files = {entry.fname for entry in font_manager.fontManager.ttflist}
        self.fonts = [_font(files, *row) for row in _rows(index['fonts'])]
        self.tags = [(_whole(axes, -1), _whole(call, -1), _flag(tick)) for axes, call, tick in _rows(index['tags'])]

    def draw_list(self, max_pixels: int) -> DrawList:
        width, height = (_whole(size, 1) for size in self._index['size'])
        if width * height > max_pixels:
            raise Unreplayable(f'the draw list is for {width} x {height} pixels')
        result = DrawList(width, height, _settings(self._index['settings']), self._index['claims'])
        rows = self._index['operations']
        if not isinstance(rows, list):
            raise Malformed('the operations are no list')
        if len(rows) > MAX_OPERATIONS:
            raise Unreplayable(f'the draw list has {len(rows)} operations, more than {MAX_OPERATIONS}')
        for kind, tag, gc, *rest in rows:
            axes, call, tick = _at(self.tags, tag)
            result.operations.append(
                Operation(kind, axes, call, tick, _at(self.gcs, gc), _READERS[kind](self, *rest)))
        return result

    def _read_arrays(self, body: bytes, start: int) -> list[np.ndarray]:
        arrays = []
        for dtype, *shape in _rows(self._index['arrays']):
            if dtype not in ('d', 'B') or len(shape) > 3:
                raise Malformed('an array of an unknown type')
            count = math.prod(_whole(size, 0) for size in shape)
            size = count * (8 if dtype == 'd' else 1)
            if size > len(body) - start:
                raise Malformed('an array lies outside of the blob')
            arrays.append(np.frombuffer(body, dtype, count, start).reshape(shape) if count else np.empty(shape, dtype))
            start += size + -size % 8
        if start != len(body):
            raise Malformed('the blob has bytes that belong to no array')
        return arrays

    def array(self, index: int, dtype: str, *shape: int | None) -> np.ndarray:
        """An array of that type and shape; None fits every size."""
        array = _at(self.arrays, index)
        if array.dtype.char != dtype or array.ndim != len(shape) or any(
                wanted is not None and wanted != size for wanted, size in zip(shape, array.shape)):
            raise Malformed(f'an array has type {array.dtype.char} and shape {array.shape}')
        return array

    def _path(self, vertices: int, codes: int, simplify: bool, threshold: float) -> Path:
        points = self.array(vertices, 'd', None, 2)
        path = Path.__new__(Path)
        path._vertices, path._codes, path._readonly, path._interpolation_steps = points, None, True, 1
        path._should_simplify, path._simplify_threshold = _flag(simplify), _number(threshold, 0, 1e6)
        if codes != -1:
            # Agg's wrapper for long paths writes into the codes.
            path._codes = self.array(codes, 'B', len(points)).copy()
            _check_codes(path._codes)
        return path

    def _gc(self, width, alpha, forced, antialiased, cap, join, r, g, b, a, dash_start, dashes, clip, clip_path, hatch,
            hatch_color, hatch_width, snap, sketch) -> State:
        gc = State()
        gc._linewidth, gc._alpha = _number(width, 0, _MAX_WIDTH), _number(alpha, 0, 1)
        gc._forced_alpha, gc._antialiased = _flag(forced), int(_flag(antialiased))
        if cap not in _STYLES[0] or join not in _STYLES[1]:
            raise Malformed('an unknown style of caps or joins')
        gc._capstyle, gc._joinstyle = cap, join
        gc._rgb = _color((r, g, b, a))
        gc._dashes = _number(dash_start), _dashes(dashes)
        gc._cliprect = None if clip is None else _clip(_list(clip, 4))
        gc.clip = None, None
        if clip_path is not None:
            gc.clip = _at(self.paths, clip_path[0]), _at(self.affines, clip_path[1])
        gc.hatch_path = None if hatch is None else _at(self.paths, hatch)
        gc._hatch = None if hatch is None else '/'
        gc._hatch_color = None if hatch_color is None else _color(hatch_color)
        gc._hatch_linewidth = _number(hatch_width, 0, _MAX_WIDTH)
        gc._snap = None if snap is None else _flag(snap)
        gc._sketch = None
        if sketch is not None:
            scale, length, randomness = sketch
            gc._sketch = _number(scale, 0, 1e4), _number(length, 0.1, 1e6), _number(randomness, 0, 1e4)
        return gc

    def read_path(self, path, affine, face) -> tuple:
        return _at(self.paths, path), _at(self.affines, affine), None if face is None else _color(face)

    def read_markers(self, marker, marker_affine, path, affine, face) -> tuple:
        return _at(self.paths, marker), _at(self.affines, marker_affine), *self.read_path(path, affine, face)

    def read_collection(self, affine, bundle, transforms, offsets, offset_affine, faces, edges, widths, styles, smooth,
                        hatches) -> tuple:
        paths = self._bundle(*bundle)
        places = self.array(offsets, 'd', None, 2)
        if max(len(paths), len(places)) > MAX_COPIES:
            raise Unreplayable(f'a collection draws more than {MAX_COPIES} paths')
        line_widths = self.array(widths, 'd', None)
        if not ((line_widths >= 0) & (line_widths <= _MAX_WIDTH)).all():
            raise Malformed('a line width of a collection is out of range')
        return (_at(self.affines, affine), paths, self.array(transforms, 'd', None, 3, 3), places,
                _at(self.affines, offset_affine), self._colors(faces), self._colors(edges), line_widths,
                [(_number(start), _dashes(dashes)) for start, dashes in _rows(styles)],
                self.array(smooth, 'B', None).astype(bool), None if hatches == -1 else self._colors(hatches))

    def read_mesh(self, affine, columns, rows, coordinates, offsets, offset_affine, faces, smooth, edges) -> tuple:
        columns, rows = _whole(columns, 0), _whole(rows, 0)
        return (_at(self.affines, affine), columns, rows, self.array(coordinates, 'd', rows + 1, columns + 1, 2),
                self.array(offsets, 'd', None, 2), _at(self.affines, offset_affine), self._colors(faces), _flag(smooth),
                self._colors(edges))

    def read_triangles(self, points, colors, affine) -> tuple:
        corners = self.array(points, 'd', None, 3, 2)
        return corners, self.array(colors, 'd', len(corners), 3, 4), _at(self.affines, affine)

    def read_image(self, x, y, image, filtered) -> tuple:
        return _number(x, -1e9, 1e9), _number(y, -1e9, 1e9), self.array(image, 'B', None, None, 4), _flag(filtered)

    def read_text(self, x, y, string, font, angle, ismath, features, language) -> tuple:
        return (_number(x, -1e9, 1e9), _number(y, -1e9, 1e9), _string(string), _at(self.fonts, font),
                _number(angle, -1e6, 1e6), _flag(ismath), _options(features, language))

    def read_outline(self, string, font, ismath, features, language, affine, face, serial) -> tuple:
        return (_string(string), _at(self.fonts, font), _flag(ismath), _options(features, language),
                _at(self.affines, affine), None if face is None else _color(face), _whole(serial, 0))

    def _bundle(self, vertices, codes, sizes) -> list[Path]:
        points = self.array(vertices, 'd', None, 2)
        marks = self.array(codes, 'B', len(points))
        counts = self.array(sizes, 'd', None)
        if len(counts) and not (np.all(counts >= 0) and np.all(counts <= len(points)) and counts.sum() == len(points)):
            raise Malformed('the sizes of paths do not add up')
        _check_codes(marks)
        ends = np.cumsum(counts).astype(int).tolist()
        paths = []
        for start, end in zip([0, *ends], ends):
            path = Path.__new__(Path)
            path._vertices, path._readonly, path._interpolation_steps = points[start:end], True, 1
            path._codes = marks[start:end] if end > start and marks[start] else None
            path._should_simplify, path._simplify_threshold = False, 0.0
            paths.append(path)
        return paths

    def _colors(self, index: int) -> np.ndarray:
        colors = self.array(index, 'd', None, 4)
        if not ((colors >= 0) & (colors <= 1)).all():
            raise Malformed('a colour lies outside of 0 and 1')
        return colors


_READERS = {'p': _Parser.read_path, 'm': _Parser.read_markers, 'c': _Parser.read_collection, 'q': _Parser.read_mesh,
            'g': _Parser.read_triangles, 'i': _Parser.read_image, 't': _Parser.read_text, 'o': _Parser.read_outline}


def _rows(value: object) -> list:
    if not isinstance(value, list) or len(value) > _MAX_ROWS:
        raise Malformed(f'a table is no list of at most {_MAX_ROWS} rows')
    return value


def _list(value: object, size: int) -> list:
    if not isinstance(value, list) or len(value) != size:
        raise Malformed(f'a row is no list of {size} entries')
    return value


def _at(table: list, index: object):
    if type(index) is not int or not 0 <= index < len(table):
        raise Malformed('a row refers to an entry that is not there')
    return table[index]


def _whole(value: object, least: int) -> int:
    if type(value) is not int or not least <= value <= 1_000_000_000:
        raise Malformed('an integer is out of range')
    return value


def _flag(value: object) -> bool:
    if type(value) is not bool:
        raise Malformed('a flag is neither true nor false')
    return value


def _number(value: object, least: float = -1e12, most: float = 1e12) -> float:
    if type(value) not in (int, float):
        raise Malformed('a number is something else')
    if not least <= value <= most:
        raise Unreplayable(f'a number lies outside of {least:g} and {most:g}')
    return float(value)


def _wide(value: object) -> float:
    """A coordinate: any double."""
    if type(value) not in (int, float):
        raise Malformed('a coordinate is no number')
    return float(value)


def _string(value: object) -> str:
    if not isinstance(value, str):
        raise Malformed('a text is no string')
    if len(value) > _MAX_STRING:
        raise Unreplayable(f'a line of text has {len(value)} characters, more than {_MAX_STRING}')
    return value


def _color(value: object) -> tuple[float, ...]:
    if len(value) not in (3, 4):
        raise Malformed('a colour has neither three nor four parts')
    return tuple(_number(part, 0, 1) for part in value)


def _affine(row: list) -> np.ndarray:
    return np.array([*map(_wide, _list(row, 6)), 0.0, 0.0, 1.0]).reshape(3, 3)


def _clip(extents: list) -> Bbox:
    values = [_wide(value) for value in extents]
    if any(map(math.isnan, values)):
        raise Unreplayable('a clip rectangle that is not a number')
    return Bbox(np.clip(values, -1e6, 1e6).reshape(2, 2))


def _dashes(value: object) -> list[float] | None:
    if value is None:
        return None
    if not isinstance(value, list) or len(value) > 100:
        raise Malformed('dashes are no short list')
    dashes = [_number(one, 0, _MAX_WIDTH) for one in value]
    if dashes and sum(dashes) < _MIN_DASH:
        raise Unreplayable(f'dashes repeat within less than {_MIN_DASH} points')
    return dashes


def _check_codes(codes: np.ndarray) -> None:
    if not _CODES[codes].all():
        raise Malformed('an unknown code in a path')


def _font(files: set[str], family, style, variant, weight, stretch, size, file, math) -> FontProperties:
    if file is not None and file not in files:
        raise Unreplayable('a font that is not among those of matplotlib')
    if not isinstance(family, list) or len(family) > 50 or not all(isinstance(one, str) for one in family):
        raise Malformed('a font family is no list of names')
    return FontProperties(family=family, style=style, variant=variant, weight=weight, stretch=stretch,
                          size=_number(size, 0, _MAX_FONT_SIZE), fname=file, math_fontfamily=math)


def _options(features: object, language: object) -> dict:
    """Font features and language as keyword arguments, without those that are not set."""
    given = {'features': features, 'language': language}
    if features is not None and not (isinstance(features, list) and all(isinstance(one, str) for one in features)):
        raise Malformed('font features are no list of strings')
    if isinstance(language, list):
        given['language'] = tuple((str(name), _whole(start, 0), _whole(end, 0)) for name, start, end in language)
    elif language is not None and not isinstance(language, str):
        raise Malformed('a language is no string')
    return {name: value for name, value in given.items() if value is not None}


def _settings(value: object) -> dict:
    if not isinstance(value, dict) or not set(value) <= set(SETTINGS):
        raise Malformed('an unknown setting')
    for one in value.values():
        parts = one if isinstance(one, list) else [one]
        if len(parts) > 100 or not all(part is None or type(part) in (str, int, float, bool) for part in parts):
            raise Malformed('a setting of an unknown type')
    return value
