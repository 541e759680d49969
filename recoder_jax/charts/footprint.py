"""What an operation can touch and with which colours, read from its arguments before it is drawn.

Bounds are generous. One that is too small loses ink and never gains any: pixels that change outside of the bounds of
what is drawn belong to nobody.
"""

import math

import numpy as np
from matplotlib.path import Path
from matplotlib.textpath import TextToPath

from recoder_jax.charts.operations import Operation, State

PIXELS_PER_POINT = 100 / 72
_MITER = 4.0            # Agg cuts miters at this many half line widths
_FRAME_VERTICES = 10
_FRAME_PIXELS = 1.0
_CURVES = (Path.CURVE3, Path.CURVE4)

Box = tuple[int, int, int, int]      # first row, row after the last, first column, column after the last


def outline(operation: Operation, text_to_path: TextToPath) -> Operation:
    """An `o` operation as the `p` operation that draws its string."""
    string, font, ismath, options, affine, face, _ = operation.args
    path = Path(*text_to_path.get_text_path(font, string, ismath=ismath, **options))
    return Operation('p', operation.axes, operation.call, operation.tick, operation.gc, (path, affine, face))


def box(operation: Operation, width: int, height: int) -> Box:
    """The part of the canvas the operation can change; empty when it is none."""
    gc = operation.gc
    bounds = _BOUNDS.get(operation.kind, _anywhere) if gc._sketch is None else _anywhere
    x0, y0, x1, y1 = bounds(operation, height)
    if gc._cliprect is not None:
        left, low, right, high = gc._cliprect.extents.tolist()
        x0, y0 = max(x0, min(left, right) - 1), max(y0, min(low, high) - 1)
        x1, y1 = min(x1, max(left, right) + 1), min(y1, max(low, high) + 1)
    x0, y0 = math.floor(min(max(x0, 0), width)), math.floor(min(max(y0, 0), height))
    x1, y1 = math.ceil(min(max(x1 + 1, x0), width)), math.ceil(min(max(y1 + 1, y0), height))
    return height - y1, height - y0, x0, x1


def _anywhere(operation: Operation, height: int) -> tuple[float, ...]:
    return -math.inf, -math.inf, math.inf, math.inf


def _span(path: Path, affine: np.ndarray) -> tuple[float, ...]:
    """Least and greatest x and y of transformed vertices; everywhere where that is not finite."""
    if not hasattr(path, 'span'):
        path.span = None
        if len(path.vertices):
            with np.errstate(all='ignore'):
                path.span = *np.fmin.reduce(path.vertices).tolist(), *np.fmax.reduce(path.vertices).tolist()
    if path.span is None:
        return 0.0, 0.0, 0.0, 0.0
    (a, b, c), (d, e, f), _ = affine.tolist()
    x0, y0, x1, y1 = path.span
    xs, ys = sorted((a * x0, a * x1)) + sorted((b * y0, b * y1)), sorted((d * x0, d * x1)) + sorted((e * y0, e * y1))
    span = c + xs[0] + xs[2], f + ys[0] + ys[2], c + xs[1] + xs[3], f + ys[1] + ys[3]
    return span if all(map(math.isfinite, span)) else (-math.inf, -math.inf, math.inf, math.inf)


def _reach(gc: State) -> float:
    return 2 + gc._linewidth * PIXELS_PER_POINT * (_MITER / 2 if gc._joinstyle == 'miter' else 1)


def _path_bounds(operation: Operation, height: int) -> tuple[float, ...]:
    path, affine, _ = operation.args
    x0, y0, x1, y1 = _span(path, affine)
    reach = _reach(operation.gc)
    return x0 - reach, y0 - reach, x1 + reach, y1 + reach


def _marker_bounds(operation: Operation, height: int) -> tuple[float, ...]:
    marker, marker_affine, path, affine, _ = operation.args
    x0, y0, x1, y1 = _span(path, affine)
    left, low, right, high = _span(marker, marker_affine)
    reach = _reach(operation.gc)
    return x0 + left - reach, y0 + low - reach, x1 + right + reach, y1 + high + reach


def _image_bounds(operation: Operation, height: int) -> tuple[float, ...]:
    x, y, image, _ = operation.args
    return x - 2, y - 2, x + image.shape[1] + 2, y + image.shape[0] + 2


def _text_bounds(operation: Operation, height: int) -> tuple[float, ...]:
    x, y, string, font, angle, ismath, _ = operation.args
    if ismath:
        return _anywhere(operation, height)
    size = font.get_size_in_points() * PIXELS_PER_POINT
    along = size * (1.3 * len(string) + 1)
    turn = math.radians(angle)
    cos, sin = math.cos(turn), math.sin(turn)
    xs, ys = zip(*((a * cos - b * sin, a * sin + b * cos) for a in (-size, along) for b in (-size, 1.6 * size)))
    # The place of a text counts down from the upper edge.
    return x + min(xs) - 2, height - y + min(ys) - 2, x + max(xs) + 2, height - y + max(ys) + 2


_BOUNDS = {'p': _path_bounds, 'm': _marker_bounds, 'i': _image_bounds, 't': _text_bounds}


def along_frame(operation: Operation, frames: np.ndarray) -> bool:
    """Whether it strokes nothing but parts of the edges of one of the rectangles, [N, 4] as x0, y0, x1, y1.

    That is what the frame of an axes looks like; data is clipped to it.
    """
    if operation.kind != 'p' or operation.args[2] is not None or not len(frames):
        return False
    path, affine, _ = operation.args
    curved = path.codes is not None and np.isin(path.codes, _CURVES).any()
    if curved or not 2 <= len(path.vertices) <= _FRAME_VERTICES:
        return False
    points = path.vertices @ affine[:2, :2].T + affine[:2, 2]
    on = np.abs(points[:, None, [0, 1, 0, 1]] - frames) <= _FRAME_PIXELS          # [vertex, frame, side]
    return bool((on[:-1] & on[1:]).any(2).all(0).any())


def sort_of(operation: Operation) -> str:
    """What kind of mark it leaves: stroke, fill, curve (a fill with curved edges), marker, collection, mesh, image,
    filtered (an image made by a filter) or text."""
    kind, args = operation.kind, operation.args
    if kind == 'p':
        path, _, face = args
        if face is None or not _face_alpha(operation.gc, face):
            return 'stroke'
        return 'curve' if path.codes is not None and np.isin(path.codes, _CURVES).any() else 'fill'
    if kind == 'i':
        return 'filtered' if args[3] else 'image'
    return {'m': 'marker', 'c': 'collection', 'q': 'mesh', 'g': 'mesh', 't': 'text', 'o': 'text'}[kind]


def _face_alpha(gc: State, face: tuple[float, ...]) -> float:
    return gc._alpha if gc._forced_alpha or len(face) == 3 else face[3]


def opacity(operation: Operation) -> float:
    """The greatest alpha it draws with."""
    gc, kind, args = operation.gc, operation.kind, operation.args
    if kind in 'pmo':
        face = args[-2] if kind == 'o' else args[-1]
        stroke = gc._rgb[3] if gc._linewidth > 0 else 0.0
        return max(stroke, 0.0 if face is None else _face_alpha(gc, face))
    if kind in 'cq':
        faces, edges = (args[5], args[6]) if kind == 'c' else (args[6], args[8])
        return float(max((colors[:, 3].max() for colors in (faces, edges) if len(colors)), default=0.0))
    if kind == 'g':
        return float(args[1][..., 3].max(initial=0.0))
    if kind == 'i':
        return gc._alpha * float(args[2][..., 3].max(initial=0)) / 255
    return gc._rgb[3]


def palette(operation: Operation) -> np.ndarray:
    """Distinct colours of its faces and edges that are not fully transparent, int32 [N], as 0xRRGGBB."""
    gc, kind, args = operation.gc, operation.kind, operation.args
    if kind in 'pm':
        rows = [gc._rgb] if gc._linewidth > 0 and gc._rgb[3] > 0 else []
        if args[-1] is not None and _face_alpha(gc, args[-1]) > 0:
            rows.append(args[-1])
        rgb = np.array([row[:3] for row in rows]).reshape(-1, 3)
    elif kind in 'cq':
        colors = np.concatenate([args[5], args[6]] if kind == 'c' else [args[6], args[8]])
        rgb = colors[colors[:, 3] > 0, :3]
    elif kind == 'g':
        rgb = args[1].reshape(-1, 4)[:, :3]
    elif kind == 'i':
        return np.empty(0, np.int32)
    else:
        rgb = np.array([gc._rgb[:3]])
    return np.unique(packed(np.rint(rgb * 255).astype(np.int32)))


def packed(rgb: np.ndarray) -> np.ndarray:
    """0xRRGGBB of integer [..., 3]."""
    return rgb[..., 0] << 16 | rgb[..., 1] << 8 | rgb[..., 2]


def mapped_colors(operation: Operation) -> np.ndarray:
    """A sample of the colours that may come from a colormap, int [N, 3] in 0 to 255: faces, else edges, else pixels."""
    kind, args = operation.kind, operation.args
    if kind == 'i':
        pixels = args[2].reshape(-1, 4)
        pixels = pixels[pixels[:, 3] > 0]
        return pixels[::len(pixels) // 2_000 + 1, :3].astype(int)
    if kind in 'cq':
        faces, edges = (args[5], args[6]) if kind == 'c' else (args[6], args[8])
        colors = faces[faces[:, 3] > 0] if len(faces) and (faces[:, 3] > 0).any() else edges[edges[:, 3] > 0]
    elif kind == 'g':
        colors = args[1].reshape(-1, 4)
    elif kind in 'pm':
        color = args[-1] if args[-1] is not None and _face_alpha(operation.gc, args[-1]) > 0 else operation.gc._rgb
        colors = np.array([color])
    else:
        colors = np.empty((0, 4))
    return np.rint(colors[::len(colors) // 2_000 + 1, :3] * 255).astype(int)


def vertices(operation: Operation) -> np.ndarray:
    """Where it puts marks, float [N, 2], y counted upwards: vertices of a path, places of markers, vertices or places of a
    collection; none for other operations."""
    kind, args = operation.kind, operation.args
    if kind in 'pm':
        path, affine = args[:2] if kind == 'p' else args[2:4]
        return path.vertices @ affine[:2, :2].T + affine[:2, 2]
    if kind != 'c':
        return np.empty((0, 2))
    master, paths, transforms, offsets, affine = args[:5]
    placed = offsets @ affine[:2, :2].T + affine[:2, 2]
    if len(transforms) or len(offsets) > 1 or not len(paths):
        return placed
    start = placed[0] if len(placed) else np.zeros(2)
    return np.concatenate([path.vertices for path in paths]) @ master[:2, :2].T + master[:2, 2] + start
