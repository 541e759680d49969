"""A visual part that asks a pretrained model: the cosine of what it sees in the render and in the target, coarse to fine.

    target ──► grid of tiles + thumbnail ─┐
    render ──► the size of the target ──► the same grid ──► observer ──► a cosine for each view ──► mapped ──► weighted mean

The grid is that of VinciCoder (arXiv 2511.00391): columns x rows of at most `most` tiles, nearest in aspect to the target; of several as
near, the later and larger one where the target has more than half its area. With more than one tile the whole image follows as one more
view. A cosine c counts as

    half         (1 + c) / 2, as VinciCoder does; a blank page earns much
    cosine       max(0, c)
    calibrated   (s - b) / (1 - b), cut to [0, 1], where s is the weighted mean of (1 + c) / 2 and b that of a page of the target's
                 background colour: that page earns 0 and the target 1. A render of any one colour earns 0

The model is no part of this room: `observer` is a function from views uint8 [V, S, S, 3] to unit vectors float32 [V, D]
(`models/observers.py`). Blind to: what texts say, as far as the model does not read.
"""

import concurrent.futures
import hashlib
import queue
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from recoder_jax.rewards.images import bounded, check_image, one_colour

MAPPINGS = ('half', 'cosine', 'calibrated')
_MAX_PIXELS = 1 << 24           # a larger image is scaled down before it is resized
_KEPT_BYTES = 256 << 20         # of the targets' vectors
_TOGETHER = 32                  # pairs that are looked at in one go at most

Observe = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class VisualOptions:
    """side: of a view in pixels. most: tiles of an image. fine, coarse: weight of each tile and of the thumbnail; an image of one tile is
    that tile alone. mapping: one of MAPPINGS."""

    side: int = 448
    most: int = 12
    fine: float = 1.0
    coarse: float = 1.0
    mapping: str = 'half'

    def __post_init__(self):
        if self.side < 1 or self.most < 1:
            raise ValueError(f'views have {self.side} pixels a side and an image {self.most} tiles; give at least 1')
        if not (min(self.fine, self.coarse) >= 0 and 0 < self.fine + self.coarse < float('inf')):
            raise ValueError(f'the weights of tiles and thumbnail are {self.fine} and {self.coarse}; give numbers from 0, one of them above 0')
        if self.mapping not in MAPPINGS:
            raise ValueError(f'the mapping of cosines is {self.mapping!r}; choose one of {", ".join(MAPPINGS)}')

    def weights(self, views: int) -> np.ndarray:
        """float64 [views], their sum 1."""
        weights = np.array([self.fine] * (views - 1) + [self.coarse] if views > 1 else [1.0])
        return weights / weights.sum()


def grid_of(height: int, width: int, side: int, most: int) -> tuple[int, int]:
    """(columns, rows) of the tiles of an image."""
    grids = sorted((i * j, i, j) for i in range(1, most + 1) for j in range(1, most + 1) if i * j <= most)
    best, nearest = (1, 1), float('inf')
    for count, columns, rows in grids:
        distance = abs(width / height - columns / rows)
        if distance < nearest or distance == nearest and height * width > 0.5 * side * side * count:
            best, nearest = (columns, rows), distance
    return best


def views_of(image: Image.Image, side: int, grid: tuple[int, int]) -> np.ndarray:
    """uint8 [V, side, side, 3]: the tiles, row by row, and with more than one of them the whole image."""
    columns, rows = grid
    whole = np.asarray(image.resize((side * columns, side * rows), Image.Resampling.BICUBIC))
    tiles = whole.reshape(rows, side, columns, side, 3).swapaxes(1, 2).reshape(-1, side, side, 3)
    if len(tiles) == 1:
        return tiles
    return np.concatenate([tiles, np.asarray(image.resize((side, side), Image.Resampling.BICUBIC))[None]])


@dataclass(eq=False)
class _Look:
    """A render to be compared with its target. An end is put behind the last one."""

    target: np.ndarray
    render: np.ndarray
    future: concurrent.futures.Future


class Visual:
    """Compares renders with targets on a thread of its own, all that wait together; a context manager. What fails there comes out of the
    future."""

    def __init__(self, observe: Observe, options: VisualOptions = VisualOptions()):
        self._observe, self._options = observe, options
        self._known: OrderedDict[bytes, np.ndarray] = OrderedDict()     # vectors of targets and blank pages by content
        self._bytes = 0
        self._waiting: queue.SimpleQueue[_Look | None] = queue.SimpleQueue()
        self._lock, self._closed = threading.Lock(), False
        self._thread = threading.Thread(target=self._run, name='visual', daemon=True)
        self._thread.start()

    def __enter__(self) -> 'Visual':
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        """What was submitted is still answered. May be called twice."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._waiting.put(None)
        self._thread.join()

    def submit(self, target: np.ndarray, render: np.ndarray | None) -> concurrent.futures.Future:
        """A float in [0, 1] for uint8 [H, W, 3] images of any sizes; 0 without a render. ValueError for other arrays and after `close`."""
        check_image(target, 'target')
        future = concurrent.futures.Future()
        if render is not None:
            check_image(render, 'render')
        if render is None or render.size == 0 or target.size == 0:
            future.set_result(0.0)
            return future
        with self._lock:
            if self._closed:
                raise ValueError('the visual reward is closed; open a new one')
            self._waiting.put(_Look(target, render, future))
        return future

    def _run(self) -> None:
        ended = False
        while not ended:
            looks = [self._waiting.get()]
            while len(looks) < _TOGETHER and not self._waiting.empty():
                looks.append(self._waiting.get())
            ended = None in looks
            looks = [look for look in looks if look is not None]
            try:
                for look, score in zip(looks, self._scores(looks), strict=True):
                    look.future.set_result(score)
            except BaseException as error:     # whoever waits is told, whatever it is
                for look in looks:
                    if not look.future.done():
                        look.future.set_exception(error)

    def _scores(self, looks: Sequence[_Look]) -> list[float]:
        """One look of the observer at everything that is not known."""
        asked, plans, side = {}, [], self._options.side
        for look in looks:
            target = Image.fromarray(np.ascontiguousarray(bounded(look.target, _MAX_PIXELS)))
            grid = grid_of(target.height, target.width, side, self._options.most)
            keys = [_key(look.target)]
            if keys[0] not in asked and keys[0] not in self._known:
                asked[keys[0]] = views_of(target, side, grid)
            if self._options.mapping == 'calibrated':
                colour = _background(look.target)
                keys.append(b'blank' + colour.tobytes())
                asked.setdefault(keys[1], np.broadcast_to(colour, (1, side, side, 3)))
            render = Image.fromarray(np.ascontiguousarray(bounded(look.render, _MAX_PIXELS))).resize(target.size, Image.Resampling.BICUBIC)
            plans.append((keys, views_of(render, side, grid)))
        asked = {key: views for key, views in asked.items() if key not in self._known}
        parts = [*asked.values(), *(views for _, views in plans)]
        vectors = self._observe(np.concatenate(parts))
        found = np.split(vectors, np.cumsum([len(views) for views in parts])[:-1])
        known = self._known | dict(zip(asked, found))
        scores = [self._score(look, [known[key] for key in keys], mine)
                  for look, (keys, _), mine in zip(looks, plans, found[len(asked):], strict=True)]
        self._keep({key: known[key] for keys, _ in plans for key in keys})
        return scores

    def _score(self, look: _Look, known: Sequence[np.ndarray], render: np.ndarray) -> float:
        """known: vectors of the target's views and, where calibrated, of a blank page."""
        if np.array_equal(look.target, look.render):
            return 1.0
        target, weights = known[0], self._options.weights(len(render))
        cosines = np.clip((target.astype(np.float64) * render).sum(-1), -1.0, 1.0)
        if self._options.mapping == 'cosine':
            return float(weights @ np.maximum(0.0, cosines))
        score = float(weights @ ((1 + cosines) / 2))
        if self._options.mapping == 'half':
            return score
        if one_colour(look.render):
            return 0.0
        blank = float(weights @ ((1 + np.clip((target.astype(np.float64) * known[1]).sum(-1), -1.0, 1.0)) / 2))
        return min(1.0, max(0.0, (score - blank) / (1 - blank))) if blank < 1 - 1e-6 else 0.0

    def _keep(self, vectors: dict[bytes, np.ndarray]) -> None:
        """Remember vectors; what was used longest ago goes when they take more than _KEPT_BYTES."""
        for key, value in vectors.items():
            old = self._known.pop(key, None)
            self._known[key] = value if old is not None else value.copy()
            self._bytes += value.nbytes if old is None else 0
        while self._bytes > _KEPT_BYTES and len(self._known) > 1:
            self._bytes -= self._known.popitem(last=False)[1].nbytes


def _key(image: np.ndarray) -> bytes:
    return hashlib.sha256(repr(image.shape).encode() + np.ascontiguousarray(image).tobytes()).digest()


def _background(image: np.ndarray) -> np.ndarray:
    """The commonest colour, uint8 [3]."""
    values, counts = np.unique(image.reshape(-1, 3).astype(np.uint32) @ np.array([65536, 256, 1], np.uint32), return_counts=True)
    value = int(values[counts.argmax()])
    return np.array([value >> 16, value >> 8 & 255, value & 255], np.uint8)
