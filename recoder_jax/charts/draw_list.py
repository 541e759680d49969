"""A renderer that writes down what it is asked to draw, and the form in which that list travels.

    body = b'DRAW', 4 bytes length of the index, index (JSON, padded to 8 bytes), blob

The index holds tables (arrays, affine transforms, paths, graphics states, fonts, tags) and the operations, rows of
numbers and strings that refer to the tables by position. Arrays lie in the blob one after another, each padded to 8
bytes. `operations` reads and checks this form; nothing in it is executed or unpickled.

    p  tag gc path affine face                                                  draw_path
    m  tag gc marker affine path affine face                                    draw_markers
    c  tag gc affine bundle transforms offsets affine faces edges widths dashes antialiased hatches
    q  tag gc affine columns rows coordinates offsets affine faces antialiased edges
    g  tag gc points colors affine                                              draw_gouraud_triangles
    i  tag gc x y image filtered                                                draw_image
    t  tag gc x y string font angle ismath features language                    draw_text
    o  tag gc string font ismath features language affine face serial           text drawn as outlines (path effects)
"""

import json
from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.textpath import TextToPath

MAGIC = b'DRAW'
# Settings that a renderer reads while it draws.
SETTINGS = (
    'agg.path.chunksize', 'font.cursive', 'font.fantasy', 'font.monospace', 'font.sans-serif', 'font.serif',
    'font.family', 'mathtext.bf', 'mathtext.bfit', 'mathtext.cal', 'mathtext.default', 'mathtext.fallback',
    'mathtext.fontset', 'mathtext.it', 'mathtext.rm', 'mathtext.sf', 'mathtext.tt', 'text.hinting',
    'text.hinting_factor', 'text.kerning_factor')
_FAR = 1e6               # pixels from the canvas at which a text or an image cannot be seen
_SMALL = 1_024           # bytes up to which equal arrays are stored once


@dataclass(frozen=True)
class Tag:
    """Who draws an operation.

    Attributes:
        axes: index of the claimed axes, -1 outside of them.
        call: index of the claimed call, -1 for frames, texts and what is not claimed.
        tick: whether it is a part of a tick.
    """

    axes: int = -1
    call: int = -1
    tick: bool = False


class _Writer:
    """The tables, the blob and the operations of one draw list."""

    def __init__(self):
        self.operations: list[list] = []
        self._arrays: dict[object, int] = {}
        self._shapes: list[list] = []
        self._blob: list[bytes] = []
        self._tables: dict[str, dict] = {name: {} for name in ('affines', 'paths', 'gcs', 'fonts', 'tags')}

    def row(self, table: str, key: tuple) -> int:
        """Position of a row in a table; equal rows are stored once."""
        rows = self._tables[table]
        return rows.setdefault(key, len(rows))

    def array(self, value: object, dtype: str) -> int:
        """Position of an array of doubles ('d') or bytes ('B')."""
        data = np.ascontiguousarray(value, float if dtype == 'd' else np.uint8)
        raw = data.tobytes()
        key = (dtype, data.shape, raw) if len(raw) <= _SMALL else len(self._shapes)
        if key not in self._arrays:
            self._arrays[key] = len(self._shapes)
            self._shapes.append([dtype, *data.shape])
            self._blob.append(raw)
            self._blob.append(bytes(-len(raw) % 8))
        return self._arrays[key]

    def affine(self, transform: object) -> int:
        """Position of an affine transform, given as a transform, a 3 x 3 array or None."""
        if transform is None:
            return self.row('affines', (1.0, 0.0, 0.0, 0.0, 1.0, 0.0))
        matrix = transform.get_matrix() if hasattr(transform, 'get_matrix') else np.asarray(transform)
        return self.row('affines', tuple(matrix[:2].ravel().tolist()))

    def path(self, path) -> int:
        codes = -1 if path.codes is None else self.array(path.codes, 'B')
        return self.row('paths', (self.array(path.vertices, 'd'), codes, bool(path.should_simplify),
                                  float(path.simplify_threshold)))

    def bundle(self, paths) -> list[int]:
        """Many paths as three arrays: all vertices, all codes (0 where a path has none), vertices of each path."""
        paths = list(paths)
        vertices = [path.vertices for path in paths]
        codes = [np.zeros(len(path.vertices)) if path.codes is None else path.codes for path in paths]
        return [self.array(np.concatenate(vertices) if paths else np.empty((0, 2)), 'd'),
                self.array(np.concatenate(codes) if paths else (), 'B'),
                self.array([len(one) for one in vertices], 'd')]

    def gc(self, gc) -> int:
        clip, (dash_offset, dashes) = gc._cliprect, gc.get_dashes()
        clip_path, clip_affine = gc.get_clip_path()
        hatch = gc.get_hatch_path()
        hatch_color = hatch and gc.get_hatch_color()
        sketch = gc.get_sketch_params()
        return self.row('gcs', (
            float(gc.get_linewidth()), float(gc.get_alpha()), bool(gc.get_forced_alpha()), bool(gc.get_antialiased()),
            str(gc.get_capstyle()), str(gc.get_joinstyle()), *_floats(gc.get_rgb()),
            float(dash_offset or 0), None if dashes is None else tuple(_floats(dashes)),
            None if clip is None else tuple(clip.extents.tolist()),
            None if clip_path is None else (self.path(clip_path), self.affine(clip_affine)),
            None if hatch is None else self.path(hatch),
            None if not hatch_color else tuple(_floats(hatch_color)), float(gc.get_hatch_linewidth()),
            gc.get_snap() if gc.get_snap() is None else bool(gc.get_snap()),
            None if sketch is None else tuple(_floats(sketch))))

    def font(self, prop) -> int:
        file = prop.get_file()
        return self.row('fonts', (
            tuple(map(str, prop.get_family())), str(prop.get_style()), str(prop.get_variant()),
            _plain(prop.get_weight()), _plain(prop.get_stretch()), float(prop.get_size_in_points()),
            None if file is None else str(file), str(prop.get_math_fontfamily())))

    def encode(self, width: int, height: int, claims: dict) -> bytes:
        index = {
            'size': [width, height],
            'settings': {name: _setting(name) for name in SETTINGS if name in matplotlib.rcParams},
            'claims': claims,
            'arrays': self._shapes,
            **{name: list(rows) for name, rows in self._tables.items()},
            'operations': self.operations,
        }
        text = json.dumps(index, separators=(',', ':')).encode()
        text += b' ' * (-len(text) % 8)
        return b''.join([MAGIC, len(text).to_bytes(4, 'little'), text, *self._blob])


def _floats(values) -> list[float]:
    return [float(value) for value in values]


def _plain(value: object) -> str | float:
    return value if isinstance(value, str) else float(value)


def _setting(name: str) -> object:
    value = matplotlib.rcParams[name]
    return [str(one) for one in value] if isinstance(value, list | tuple) else value


class RecordingRenderer(RendererAgg):
    """Takes the place of an Agg renderer for one draw. Measures text as Agg does; draws only what a filter asks for.

    It is equal to the renderer it stands for, because matplotlib keeps the sizes of texts by renderer.

    Attributes:
        reason: why the list cannot be replayed; '' while it can.
    """

    def __init__(self, renderer: RendererAgg, in_tick: Callable[[], bool]):
        super().__init__(renderer.width, renderer.height, renderer.dpi)
        self.mathtext_parser = renderer.mathtext_parser
        self.reason = ''
        self._stands_for = renderer
        self._in_tick = in_tick
        self._text2path = _NotingTextToPath()
        self._here = Tag()
        self.clear()

    def __eq__(self, other: object) -> bool:
        return other is self or other is self._stands_for

    def __hash__(self) -> int:
        return hash(self._stands_for)

    def clear(self) -> None:
        """Forgets what was drawn."""
        self._writer = _Writer()

    def encode(self, claims: dict) -> bytes:
        """The draw list with the claims that its tags refer to."""
        return self._writer.encode(int(self.width), int(self.height), claims)

    @contextmanager
    def tagging(self, artists: list[tuple[Artist, dict]]):
        """While it lasts, each artist draws under its changes to the tag; the one inside wins."""
        with ExitStack() as stack:
            for artist, change in artists:
                stack.callback(_restore_draw, artist, vars(artist).get('draw'))
                artist.draw = self._tagged(artist.draw, change)
            yield

    def _tagged(self, draw: Callable, change: dict) -> Callable:
        def draw_tagged(renderer, *args, **kwargs):
            outside = self._here
            self._here = Tag(**(vars(outside) | change))
            try:
                return draw(renderer, *args, **kwargs)
            finally:
                self._here = outside
        draw_tagged._supports_rasterization = getattr(draw, '_supports_rasterization', False)
        return draw_tagged

    def _tag(self) -> int:
        here = self._here
        return self._writer.row('tags', (here.axes, here.call, here.tick or self._in_tick()))

    def _add(self, kind: str, gc, *rest) -> None:
        self._writer.operations.append([kind, self._tag(), self._writer.gc(gc), *rest])

    def _update_methods(self) -> None:
        """RendererAgg binds the methods of its canvas here, over those of this class."""
        self.copy_from_bbox = self._renderer.copy_from_bbox

    def draw_path(self, gc, path, transform, rgbFace=None):
        if self._filter_renderers:
            return super().draw_path(gc, path, transform, rgbFace)
        write, text = self._writer, self._text2path
        face = None if rgbFace is None else _floats(rgbFace)
        if path.vertices is text.vertices:
            string, prop, ismath, features, language = text.noted
            self._add('o', gc, string, write.font(prop), ismath, features, language, write.affine(transform), face,
                      text.serial)
        else:
            self._add('p', gc, write.path(path), write.affine(transform), face)

    def draw_markers(self, gc, marker_path, marker_trans, path, trans, rgbFace=None):
        if self._filter_renderers:
            return self._renderer.draw_markers(gc, marker_path, marker_trans, path, trans, rgbFace)
        write = self._writer
        self._add('m', gc, write.path(marker_path), write.affine(marker_trans), write.path(path), write.affine(trans),
                  None if rgbFace is None else _floats(rgbFace))

    def draw_path_collection(self, gc, master_transform, paths, all_transforms, offsets, offset_trans, facecolors,
                             edgecolors, linewidths, linestyles, antialiaseds, urls, offset_position, **more):
        if not len(paths):
            return None          # matplotlib tries out which arguments a renderer takes
        if self._filter_renderers:
            return self._renderer.draw_path_collection(
                gc, master_transform, paths, all_transforms, offsets, offset_trans, facecolors, edgecolors, linewidths,
                linestyles, antialiaseds, urls, offset_position, **more)
        write, hatches = self._writer, more.get('hatchcolors')
        transforms = [one.get_matrix() if hasattr(one, 'get_matrix') else one for one in all_transforms]
        self._add('c', gc, write.affine(master_transform), write.bundle(paths),
                  write.array(np.reshape(transforms, (-1, 3, 3)), 'd'), write.array(np.reshape(offsets, (-1, 2)), 'd'),
                  write.affine(offset_trans), self._colors(facecolors), self._colors(edgecolors),
                  write.array(np.ravel(linewidths), 'd'),
                  [[float(start or 0), None if dashes is None else _floats(dashes)] for start, dashes in linestyles],
                  write.array(np.ravel(antialiaseds).astype(bool), 'B'),
                  -1 if hatches is None else self._colors(hatches))

    def draw_quad_mesh(self, gc, master_transform, meshWidth, meshHeight, coordinates, offsets, offsetTrans, facecolors,
                       antialiased, edgecolors):
        if self._filter_renderers:
            return self._renderer.draw_quad_mesh(gc, master_transform, meshWidth, meshHeight, coordinates, offsets,
                                                 offsetTrans, facecolors, antialiased, edgecolors)
        write = self._writer
        self._add('q', gc, write.affine(master_transform), int(meshWidth), int(meshHeight),
                  write.array(coordinates, 'd'), write.array(np.reshape(offsets, (-1, 2)), 'd'),
                  write.affine(offsetTrans), self._colors(facecolors), bool(antialiased), self._colors(edgecolors))

    def draw_gouraud_triangles(self, gc, triangles_array, colors_array, transform):
        if self._filter_renderers:
            return self._renderer.draw_gouraud_triangles(gc, triangles_array, colors_array, transform)
        write = self._writer
        self._add('g', gc, write.array(np.reshape(triangles_array, (-1, 3, 2)), 'd'),
                  write.array(np.reshape(colors_array, (-1, 3, 4)), 'd'), write.affine(transform))

    def draw_image(self, gc, x, y, im, transform=None):
        if self._filter_renderers:
            return self._renderer.draw_image(gc, x, y, im)
        if max(abs(x), abs(y)) < _FAR:
            self._add('i', gc, float(x), float(y), self._writer.array(im, 'B'), False)

    def draw_text(self, gc, x, y, s, prop, angle, ismath=False, mtext=None):
        if self._filter_renderers:
            return super().draw_text(gc, x, y, s, prop, angle, ismath, mtext)
        if max(abs(x), abs(y)) >= _FAR:
            return None
        features, language = _font_options(mtext)
        self._add('t', gc, float(x), float(y), str(s), self._writer.font(prop), float(angle), bool(ismath), features,
                  language)

    def draw_tex(self, gc, x, y, s, prop, angle, *, mtext=None):
        self.reason = self.reason or 'text set by TeX'

    def restore_region(self, region, bbox=None, xy=None):
        self.reason = self.reason or 'pixels restored while drawing'

    def stop_filter(self, post_processing):
        outside = self._filter_renderers[-1]
        if len(self._filter_renderers) == 1:
            self._filter_renderers[0] = _Filtered(self._add, self._writer)
        super().stop_filter(post_processing)
        self._renderer = outside
        self._update_methods()

    def _colors(self, colors) -> int:
        return self._writer.array(np.reshape(colors, (-1, 4)), 'd')


class _Filtered:
    """Stands for the canvas that a filter draws its image on."""

    copy_from_bbox = None

    def __init__(self, add: Callable, writer: _Writer):
        self._add, self._writer = add, writer

    def draw_image(self, gc, x, y, im):
        self._add('i', gc, float(x), float(y), self._writer.array(im, 'B'), True)


class _NotingTextToPath(TextToPath):
    """Outlines of text that remember the text: path effects draw texts as paths.

    Attributes:
        vertices: the array that was given out last.
        noted: string, font, ismath, features, language of it.
        serial: how many were given out.
    """

    vertices = None
    noted = ('', None, False, None, None)
    serial = 0

    def get_text_path(self, prop, s, ismath=False, **options):
        vertices, codes = super().get_text_path(prop, s, ismath=ismath, **options)
        self.vertices = np.asarray(vertices, float)
        self.noted = (str(s), prop.copy(), bool(ismath), _features(options.get('features')),
                      _language(options.get('language')))
        self.serial += 1
        return self.vertices, codes


def _font_options(text) -> tuple[list[str] | None, object]:
    """Font features and language of a text, which matplotlib has since 3.11."""
    if not hasattr(text, 'get_fontfeatures'):
        return None, None
    return _features(text.get_fontfeatures()), _language(text.get_language())


def _features(features) -> list[str] | None:
    return None if features is None else [str(feature) for feature in features]


def _language(language) -> object:
    if language is None or isinstance(language, str):
        return language
    return [[str(name), int(start), int(end)] for name, start, end in language]


def _restore_draw(artist: Artist, own: Callable | None) -> None:
    if own is None:
        del artist.draw
    else:
        artist.draw = own
