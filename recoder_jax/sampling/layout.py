"""Given tokens laid out for the device: one piece of a dialogue a lane, padded to few shapes.

Axes: A lanes, Q given tokens, I images, W windows, M merged tokens.
"""

import dataclasses
from collections.abc import Sequence

import jax
import numpy as np

from recoder_jax.dialogue.encoder import Tokens
from recoder_jax.models.qwen2_5_vl.positions import mrope_positions
from recoder_jax.models.qwen2_5_vl.windows import vision_inputs, vision_shapes, windows_needed
from recoder_jax.sampling.buckets import quarter_step
from recoder_jax.sampling.decode import Given
from recoder_jax.sharding import placement


@dataclasses.dataclass(frozen=True)
class Buckets:
    """Least padded sizes: of given tokens, windows of the largest image (both grow in quarter steps), cache slots that a call reads (which
    grow by doubling), and seats that it decodes on a device."""

    tokens: int = 64
    windows: int = 4
    slots: int = 512
    seats: int = 1


@dataclasses.dataclass(frozen=True, order=True)
class Size:
    """Padded tokens, images and windows of a piece. Pieces of one size are read in one call, so that what a piece comes to does not depend
    on the pieces beside it."""

    tokens: int
    images: int
    windows: int


def size_of(piece: Tokens, buckets: Buckets) -> Size:
    needed = max((windows_needed(image.grid) for image in piece.images), default=0)
    windows = quarter_step(needed, buckets.windows) if needed else 0
    return Size(quarter_step(len(piece), buckets.tokens), len(piece.images), windows)


def given(pieces: Sequence[Tokens], starts: Sequence[int], size: Size, image_id: int) -> Given:
    """Pieces of `size`, one a lane, whose first tokens stand at M-RoPE positions `starts`."""
    lanes = len(pieces)
    tokens, image_slot = np.zeros((lanes, size.tokens), np.int32), np.full((lanes, size.tokens), -1, np.int32)
    positions, following = np.zeros((3, lanes, size.tokens), np.int32), np.zeros(lanes, np.int32)
    merged = size.windows * 16
    for a, (piece, begin) in enumerate(zip(pieces, starts, strict=True)):
        n, grids = len(piece), [image.grid for image in piece.images]
        tokens[a, :n] = piece.ids
        positions[:, a, :n], following[a] = mrope_positions(piece.ids, grids, image_id, begin)
        image_slot[a, :n] = image_slots(piece.ids, grids, [(a * size.images + i) * merged for i in range(size.images)], image_id)
    vision = None
    if size.images:
        vision = vision_inputs([image for piece in pieces for image in piece.images], lanes * size.images, size.windows, merged)
    return Given(tokens, positions, np.array([len(piece) for piece in pieces], np.int32), image_slot, following, vision)


def image_slots(ids: np.ndarray, grids: Sequence[tuple[int, int]], first: Sequence[int], image_id: int) -> np.ndarray:
    """Row of the flattened image features that stands at each token: int32 [n], -1 for text.

    grids: patches (rows, columns) of the images in `ids`. first: row of the first token of each.
    """
    slots = np.full(len(ids), -1, np.int32)
    if grids:
        slots[np.asarray(ids) == image_id] = np.concatenate([begin + np.arange(h * w // 4) for begin, (h, w) in zip(first, grids, strict=True)])
    return slots


def given_shapes(lanes: int, size: Size) -> Given:
    """Shapes and dtypes of what `given` returns."""
    whole, each = jax.ShapeDtypeStruct((lanes, size.tokens), np.int32), jax.ShapeDtypeStruct((lanes,), np.int32)
    vision = vision_shapes(lanes * size.images, size.windows, size.windows * 16) if size.images else None
    return Given(whole, jax.ShapeDtypeStruct((3, lanes, size.tokens), np.int32), each, whole, each, vision)


def given_places(given: Given, mesh: jax.sharding.Mesh) -> Given:
    """Where each array of it goes: lanes and images over the batch axes."""

    def where(name: str, x):
        axes = (None, "batch") if name == "positions" else ("batch",)
        return placement(x.shape, axes + (None,) * (len(x.shape) - len(axes)), mesh)

    fields = {field.name: getattr(given, field.name) for field in dataclasses.fields(given)}
    return Given(**{name: jax.tree.map(lambda x, name=name: where(name, x), value) for name, value in fields.items()})
