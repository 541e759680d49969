"""A visual part that asks nobody: how much of the ink of the target the render has, and how much it adds.

Ink is what differs from the background B, the commonest colour of the target. For a field F of either image (its colours
minus B, the gradients of its luminance, its ink by colour) the agreement is Bray and Curtis' (Ecological Monographs 1957):

    agreement(F_t, F_r) = 1 - sum |F_t - F_r| / (sum |F_t| + sum |F_r|)        in [0, 1] by the triangle inequality

A page of the background has F_r = 0 and agrees 0 in every field; the target agrees 1. Both images are brought to the size of
the target, at most SIDE pixels on its longer side, and the similarity is

    aspect * sqrt(edges * (colours + palette) / 2)

edges, colours: mean agreement of gradients and of colours over the scales 1, 1/2, 1/4, 1/8; fine ones see texts and lines,
coarse ones forgive a shift of some pixels. palette: agreement of ink summed by colour on a grid of 4 x 4 x 4 with linear
weights, wherever it stands. aspect: min(a/b, b/a) of the images' height by width. The product is there so that a page filled
with a colour of the target, which has no edges, earns next to nothing.
The formula is ours. Blind to: which text is written, as far as it has the same ink; what values mean.
"""

import math

import numpy as np
from PIL import Image

from recoder_jax.rewards.images import bounded, check_image, one_colour

SIDE = 224
SCALES = 4
_GRID = 4
_LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)      # ITU-R BT.601


def similarity(target: np.ndarray, render: np.ndarray | None) -> float:
    """Agreement of a render with its target, in [0, 1]; uint8 [H, W, 3] of any sizes, ValueError for other arrays.

    0 without a render and for a render of one colour. A target of one colour has no ink: 1 for a render of that colour, else 0.
    """
    check_image(target, 'target')
    if render is None:
        return 0.0
    check_image(render, 'render')
    if target.size == 0 or render.size == 0:
        return 0.0
    shape = _shape(target)
    ours, theirs = _resized(target, shape), _resized(render, shape)
    if one_colour(ours) or one_colour(theirs):
        return float(np.array_equal(ours, theirs) and one_colour(render))
    background = _commonest(ours)
    edges, colours, palette = _views((ours - background) / 255, (theirs - background) / 255)
    return _aspect(target, render) * math.sqrt(edges * (colours + palette) / 2)


def _shape(target: np.ndarray) -> tuple[int, int]:
    """(height, width) that both images are compared at."""
    height, width = target.shape[:2]
    shrink = min(1.0, SIDE / max(height, width))
    return max(1, round(height * shrink)), max(1, round(width * shrink))


def _resized(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """float32 [h, w, 3], whole numbers from 0 to 255."""
    small = Image.fromarray(np.ascontiguousarray(bounded(image, 16 * SIDE * SIDE)))
    return np.asarray(small.resize(shape[::-1], Image.Resampling.BOX), np.float32)


def _commonest(image: np.ndarray) -> np.ndarray:
    values, counts = np.unique(image.astype(np.int64) @ np.array([65536, 256, 1]), return_counts=True)
    value = int(values[counts.argmax()])
    return np.array([value >> 16, value >> 8 & 255, value & 255], np.float32)


def _aspect(target: np.ndarray, render: np.ndarray) -> float:
    quotient = target.shape[0] * render.shape[1] / (target.shape[1] * render.shape[0])
    return min(quotient, 1 / quotient)


def _agreement(a: np.ndarray, b: np.ndarray) -> float:
    ink = float(np.abs(a).sum() + np.abs(b).sum())
    return 1.0 if ink == 0 else max(0.0, 1 - float(np.abs(a - b).sum()) / ink)


def _views(wanted: np.ndarray, drawn: np.ndarray) -> tuple[float, float, float]:
    """Agreement of edges, colours and palette of two fields of ink, float32 [h, w, 3]."""
    edges = colours = palette = 0.0
    for scale in range(SCALES):
        if scale:
            wanted, drawn = _halved(wanted), _halved(drawn)
        if scale == 1:
            palette = _agreement(_palette(wanted), _palette(drawn))
        edges += _agreement(_gradients(wanted), _gradients(drawn)) / SCALES
        colours += _agreement(wanted, drawn) / SCALES
    return edges, colours, palette


def _gradients(ink: np.ndarray) -> np.ndarray:
    """Differences of luminance to the pixel below and to the right; beyond the edge stands the background."""
    grey = np.pad(ink @ _LUMINANCE, 1)
    return np.stack([grey[1:, :-1] - grey[:-1, :-1], grey[:-1, 1:] - grey[:-1, :-1]])


def _halved(ink: np.ndarray) -> np.ndarray:
    """Means of 2 x 2 pixels; beyond an odd edge stands the background."""
    height, width = ink.shape[:2]
    even = np.pad(ink, ((0, height % 2), (0, width % 2), (0, 0)))
    return (even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]) / 4


def _palette(ink: np.ndarray) -> np.ndarray:
    """Amount of ink by its difference from the background, float [64]: each channel's -1..1 is spread over 4 points."""
    flat = ink.reshape(-1, 3)
    amount = np.abs(flat).sum(axis=1)
    flat, amount = flat[amount > 0], amount[amount > 0]
    place = ((flat + 1) * ((_GRID - 1) / 2)).T
    low = np.minimum(place.astype(np.int32), _GRID - 2)
    part = place - low
    table = np.zeros(_GRID ** 3)
    for corner in np.ndindex(2, 2, 2):
        weight, index = amount, 0
        for channel, up in enumerate(corner):
            weight = weight * (part[channel] if up else 1 - part[channel])
            index = index * _GRID + low[channel] + up
        table += np.bincount(index, weight, minlength=_GRID ** 3)
    return table
