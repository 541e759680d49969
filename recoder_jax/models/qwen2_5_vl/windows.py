"""Images laid out as attention windows, on the host. NumPy, and a pytree so that the layout can enter `jax.jit`.

A window is 8 x 8 patches: 16 merge groups of 2 x 2 patches, 64 slots. Group (i, j) of an image lies in window
(i // 4, j // 4) at group slot 4 * (i % 4) + j % 4; windows are numbered row by row. Windows at the right and bottom edge
have empty slots, marked invalid, so window attention is dense inside [I, W, 64] for images of all sizes:

    image of 6 x 10 patches          windows 0 and 1, group slots       merged slot = 16 * window + group slot
    = 3 x 5 groups                   |  0  1  2  3 | 16  .  .  . |
      0  1  2  3  4                  |  4  5  6  7 | 20  .  .  . |      order = 0 1 2 3 16 4 5 6 7 20 8 9 10 11 24
      5  6  7  8  9                  |  8  9 10 11 | 24  .  .  . |
     10 11 12 13 14                  |  .  .  .  . |  .  .  .  . |
"""

from __future__ import annotations

import dataclasses
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
    """A batch of images as windows. I images, W windows, 64 slots, M merged tokens; the unused are zero and invalid.

    Attributes:
      patches: float32 [I, W, 64, patch values].
      rows, cols: int32 [I, W, 64], patch coordinates for the rotary embedding.
      valid: bool [I, W, 64].
      order: int32 [I, M], merged slot (0 to 16 * W - 1) of each merged token in raster order, padded with 0.
    """

    patches: np.ndarray | jax.Array
    rows: np.ndarray | jax.Array
    cols: np.ndarray | jax.Array
    valid: np.ndarray | jax.Array
    order: np.ndarray | jax.Array


def windows_needed(grid: tuple[int, int]) -> int:
    """Windows that an image of (rows, columns) patches occupies."""
    return -(-grid[0] // WINDOW_PATCHES) * -(-grid[1] // WINDOW_PATCHES)


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
        slots, group_slots, rows, cols = layout(image.grid)
        out.patches[i].reshape(windows * SLOTS, values)[slots] = image.values
        out.rows[i].reshape(-1)[slots] = rows
        out.cols[i].reshape(-1)[slots] = cols
        out.valid[i].reshape(-1)[slots] = True
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
        valid=jax.ShapeDtypeStruct(shape, np.bool_),
        order=jax.ShapeDtypeStruct((images, merged), np.int32),
    )


def layout(grid: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Slots of one image: (slot of each patch [P], merged slot of each group [P / 4], patch rows [P], patch columns [P]).

    Patches are in merge-block order (2 x 2 blocks row by row, inside a block row by row), groups in raster order.
    """
    h, w = grid[0] // MERGE, grid[1] // MERGE
    i, j = np.repeat(np.arange(h), w), np.tile(np.arange(w), h)
    window = (i // _GROUPS) * -(-w // _GROUPS) + j // _GROUPS
    groups = window * _GROUPS**2 + (i % _GROUPS) * _GROUPS + j % _GROUPS
    inside = np.arange(MERGE**2)
    slots = (groups[:, None] * MERGE**2 + inside).reshape(-1)
    rows = (i[:, None] * MERGE + inside // MERGE).reshape(-1)
    cols = (j[:, None] * MERGE + inside % MERGE).reshape(-1)
    return slots, groups.astype(np.int32), rows.astype(np.int32), cols.astype(np.int32)


def _check(image: PatchesLike, windows: int, merged: int) -> None:
    rows, columns = image.grid
    if rows % MERGE or columns % MERGE or rows * columns != len(image.values):
        raise ValueError(f'{len(image.values)} patches cannot form the grid {image.grid} in blocks of 2 x 2.')
    if windows_needed(image.grid) > windows or merged_tokens(image.grid) > merged:
        raise ValueError(
            f'An image of {rows} x {columns} patches needs {windows_needed(image.grid)} windows and '
            f'{merged_tokens(image.grid)} tokens; the layout has {windows} and {merged}: lower max_pixels or raise them.'
        )
