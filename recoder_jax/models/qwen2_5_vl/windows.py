"""Images laid out as attention windows, on the host. NumPy, and a pytree so that the layout can enter `jax.jit`.

A window is 8 x 8 patches: 16 merge groups of 2 x 2 patches, 64 slots. Windows at the right and bottom edge of an image may be smaller;
they share the slots of a whole one, so that few slots are empty, and a slot knows the number of its window (0: empty). Window attention
is then the same inside every [64] of [I, W, 64], for images of all sizes. The largest windows are seated first, each in the first place
that has room; inside a window groups stand row by row:

    image of 6 x 10 patches          window 1 and window 2, merged slots, both in place 0
    = 3 x 5 groups                   |  0  1  2  3 | 12 |
      0  1  2  3  4                  |  4  5  6  7 | 13 |      order  = 0 1 2 3 12 4 5 6 7 13 8 9 10 11 14
      5  6  7  8  9                  |  8  9 10 11 | 14 |      window = 1 in slots 0 to 47, 2 in 48 to 59, 0 in 60 to 63
     10 11 12 13 14
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Protocol

import jax
import numpy as np

from recoder_jax.models.qwen2_5_vl.config import MERGE, WINDOW_PATCHES

SLOTS = WINDOW_PATCHES**2
PATCH_VALUES = 3 * 2 * 14 * 14  # of the published sizes; a layout without images has no other source for it
_GROUPS = WINDOW_PATCHES // MERGE  # groups along one side of a window


class PatchesLike(Protocol):
    """`dialogue.images.Patches`: values float32 [P, patch values] in merge-block order, grid (rows, columns)."""

    values: np.ndarray
    grid: tuple[int, int]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class VisionInputs:
    """A batch of images as windows. I images, W places for a whole window, 64 slots, M merged tokens; the unused are zero.

    Attributes:
      patches: float32 [I, W, 64, patch values].
      rows, cols: int32 [I, W, 64], patch coordinates for the rotary embedding.
      window: int32 [I, W, 64], number of the slot's window from 1, row by row; 0 where the slot is empty.
      order: int32 [I, M], merged slot (0 to 16 * W - 1) of each merged token in raster order, padded with 0.
    """

    patches: np.ndarray | jax.Array
    rows: np.ndarray | jax.Array
    cols: np.ndarray | jax.Array
    window: np.ndarray | jax.Array
    order: np.ndarray | jax.Array


def windows_needed(grid: tuple[int, int]) -> int:
    """Whole windows whose slots hold an image of (rows, columns) patches."""
    return int(_seats(grid[0] // MERGE, grid[1] // MERGE)[0].max()) + 1


def merged_tokens(grid: tuple[int, int]) -> int:
    """Tokens of an image of (rows, columns) patches in the dialogue."""
    return (grid[0] // MERGE) * (grid[1] // MERGE)


def vision_inputs(
    images: Sequence[PatchesLike], images_padded: int, windows: int, merged: int, into: VisionInputs | None = None
) -> VisionInputs:
    """Lays out images for `Qwen2_5_VL.encode_images`; equal sizes of the last three arguments share one compilation.

    Args:
      images: what the image processor returned, at most `images_padded`.
      images_padded: I.
      windows: W, at least `windows_needed(grid)` of every image.
      merged: M, at least `merged_tokens(grid)` of every image.
      into: arrays of zeros to write to; by default fresh ones.

    Raises:
      ValueError: when an image does not fit or its grid is odd.
    """
    if len(images) > images_padded:
        raise ValueError(f'{len(images)} images do not fit into {images_padded} places; raise images_padded.')
    values = images[0].values.shape[1] if images else PATCH_VALUES
    shapes = vision_shapes(images_padded, windows, merged, values)
    out = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes) if into is None else into
    for i, image in enumerate(images):
        _check(image, windows, merged)
        slots, group_slots, rows, cols, window = layout(image.grid)
        out.patches[i].reshape(windows * SLOTS, values)[slots] = image.values
        out.rows[i].reshape(-1)[slots] = rows
        out.cols[i].reshape(-1)[slots] = cols
        out.window[i].reshape(-1)[slots] = window
        out.order[i, : len(group_slots)] = group_slots
    return out


def vision_shapes(images: int, windows: int, merged: int, values: int = PATCH_VALUES) -> VisionInputs:
    """Shapes and dtypes of what `vision_inputs` returns."""
    shape = (images, windows, SLOTS)
    whole = jax.ShapeDtypeStruct(shape, np.int32)
    return VisionInputs(
        patches=jax.ShapeDtypeStruct((*shape, values), np.float32),
        rows=whole,
        cols=whole,
        window=whole,
        order=jax.ShapeDtypeStruct((images, merged), np.int32),
    )


def layout(grid: tuple[int, int]) -> tuple[np.ndarray, ...]:
    """Slots of one image: (slot of each patch [P], merged slot of each group [P / 4], patch rows [P], patch columns [P], window numbers [P]).

    Patches are in merge-block order (2 x 2 blocks row by row, inside a block row by row), groups in raster order.
    """
    h, w = grid[0] // MERGE, grid[1] // MERGE
    i, j = np.repeat(np.arange(h), w), np.tile(np.arange(w), h)
    y, x = i // _GROUPS, j // _GROUPS  # of the group's window
    place, first = _seats(h, w)
    width = np.minimum(_GROUPS, w - _GROUPS * x)  # groups in a row of the window
    groups = place[y, x] * _GROUPS**2 + first[y, x] + i % _GROUPS * width + j % _GROUPS
    inside = np.arange(MERGE**2)
    slots = (groups[:, None] * MERGE**2 + inside).reshape(-1)
    rows = (i[:, None] * MERGE + inside // MERGE).reshape(-1)
    cols = (j[:, None] * MERGE + inside % MERGE).reshape(-1)
    window = np.repeat(y * place.shape[1] + x + 1, MERGE**2)
    return slots, *(array.astype(np.int32) for array in (groups, rows, cols, window))


@functools.lru_cache(maxsize=1024)
def _seats(h: int, w: int) -> tuple[np.ndarray, np.ndarray]:
    """Of an image of h x w groups: place and first group slot there of each window, [windows down, windows across] both."""
    down, across = (np.minimum(_GROUPS, n - np.arange(0, n, _GROUPS)) for n in (h, w))
    sizes = np.outer(down, across)  # groups of each window
    place, first, taken = np.zeros_like(sizes), np.zeros_like(sizes), []
    for window in np.argsort(-sizes, axis=None, kind='stable'):
        size = sizes.flat[window]
        seat = next((p for p, used in enumerate(taken) if used + size <= _GROUPS**2), len(taken))
        taken += [0] if seat == len(taken) else []
        place.flat[window], first.flat[window] = seat, taken[seat]
        taken[seat] += size
    return place, first


def _check(image: PatchesLike, windows: int, merged: int) -> None:
    rows, columns = image.grid
    if rows % MERGE or columns % MERGE or rows * columns != len(image.values):
        raise ValueError(f'{len(image.values)} patches cannot form the grid {image.grid} in blocks of 2 x 2.')
    if windows_needed(image.grid) > windows or merged_tokens(image.grid) > merged:
        raise ValueError(
            f'An image of {rows} x {columns} patches needs {windows_needed(image.grid)} windows and '
            f'{merged_tokens(image.grid)} tokens; the layout has {windows} and {merged}: lower max_pixels or raise them.'
        )
