"""Rotary positions of a dialogue: three numbers (time, row, column) per token. NumPy only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recoder_jax.models.qwen2_5_vl.config import MERGE


def mrope_positions(
    ids: np.ndarray, grids: Sequence[tuple[int, int]], image_id: int, start: int = 0
) -> tuple[np.ndarray, int]:
    """Positions of the tokens of one dialogue, or of a piece appended to it.

    Text advances all three numbers by one. An image of h x w merged tokens at position p has time p, rows p to p + h - 1
    and columns p to p + w - 1; the token after it stands at p + max(h, w).

    Args:
      ids: int [S] token ids; every image is a run of h * w times `image_id`.
      grids: patches (rows, columns) of each image in `ids`, in order.
      image_id: the id that stands for an image token.
      start: position of the first token: what the call for the preceding piece returned.

    Returns:
      int32 [3, S] and the position of the token that would follow.

    Raises:
      ValueError: when the image tokens in `ids` are not those of `grids`.
    """
    is_image = np.asarray(ids) == image_id
    expected = sum((rows // MERGE) * (columns // MERGE) for rows, columns in grids)
    if int(is_image.sum()) != expected:
        raise ValueError(
            f'The dialogue holds {int(is_image.sum())} image tokens but its {len(grids)} images need {expected}; '
            'encode text and images together.'
        )
    out = np.zeros((3, len(is_image)), np.int32)
    at, position = 0, start
    for rows, columns in grids:
        h, w = rows // MERGE, columns // MERGE
        first = at + int(np.argmax(is_image[at:]))
        out[:, at:first] = np.arange(position, position + first - at)
        position += first - at
        if not is_image[first : first + h * w].all():
            raise ValueError(f'The tokens of an image of {rows} x {columns} patches are interrupted at token {first}.')
        out[:, first : first + h * w] = position
        out[1, first : first + h * w] += np.repeat(np.arange(h), w).astype(np.int32)
        out[2, first : first + h * w] += np.tile(np.arange(w), h).astype(np.int32)
        position += max(h, w)
        at = first + h * w
    out[:, at:] = np.arange(position, position + len(is_image) - at)
    return out, position + len(is_image) - at
