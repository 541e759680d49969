"""Renders of any size brought to a size that a reward can afford."""

import math

import numpy as np
from PIL import Image

_STRIP_PIXELS = 4_000_000      # pixels of a huge image that are copied at a time


def check_image(image: np.ndarray, name: str) -> None:
    """ValueError unless `image` is uint8 [H, W, 3]."""
    shape, dtype = getattr(image, 'shape', None), getattr(image, 'dtype', None)
    if dtype != np.uint8 or shape is None or len(shape) != 3 or shape[2] != 3:
        raise ValueError(f'the {name} is {dtype} of shape {shape}; give uint8 of shape (height, width, 3)')


def bounded(image: np.ndarray, max_pixels: int, max_side: float = math.inf) -> np.ndarray:
    """The image with at most `max_pixels` pixels and sides of at most `max_side`, its aspect kept as far as whole pixels allow.

    uint8 [H, W, 3] in and out; never enlarged. A pixel of the result is an average over the area it stands for. What is copied
    at a time stays small, so an image of 20,000 x 20,000 pixels costs time but no second copy of it.
    """
    height, width = image.shape[:2]
    if height * width <= max_pixels and max(height, width) <= max_side:
        return image
    shrink = min(math.sqrt(max_pixels / (height * width)), max_side / max(height, width))
    new_height = max(1, int(height * shrink))
    new_width = max(1, min(int(width * shrink), max_pixels // new_height))
    new_height = max(1, min(new_height, max_pixels // new_width))
    coarse = _reduced(image, max(1, int(1 / (2 * shrink))))
    return np.asarray(Image.fromarray(coarse).resize((new_width, new_height), Image.Resampling.BOX))


def _reduced(image: np.ndarray, factor: int) -> np.ndarray:
    """Averages over blocks of factor x factor pixels, strip by strip."""
    if factor == 1:
        return np.ascontiguousarray(image)
    height, width = image.shape[:2]
    block = min(factor, width), min(factor, height)
    rows = max(1, _STRIP_PIXELS // (width * block[1])) * block[1]
    reduced = []
    for start in range(0, height, rows):
        strip = Image.fromarray(np.ascontiguousarray(image[start:start + rows]))
        reduced.append(np.asarray(strip.reduce((block[0], min(block[1], strip.height)))))
    return np.concatenate(reduced)


def one_colour(image: np.ndarray) -> bool:
    """Whether nothing is drawn: no pixels, or all of them equal."""
    return image.size == 0 or bool((image[0] == image[0, 0]).all() and (image == image[0, 0]).all())
