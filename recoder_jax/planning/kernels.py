"""What the attention kernels of a planned step compute: they skip blocks that see nothing of each other, which no traced program shows."""

import collections
import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from recoder_jax.learning.batch import Shape, Tree, layout, row_segments
from recoder_jax.models.qwen2_5_vl import attention_splash as splash
from recoder_jax.models.qwen2_5_vl import windows
from recoder_jax.models.qwen2_5_vl.windows import SLOTS
from recoder_jax.sharding import make_mesh


@dataclasses.dataclass(frozen=True)
class Shares:
    """Blocks that run among those of a kernel's grid, by the scope the kernel runs in (`attention_splash`)."""

    packed_trees: float = 1.0
    image_slots: float = 1.0

    def of(self, scope: str) -> float:
        """The share of a kernel whose name stack is `scope`."""
        found = [getattr(self, field.name) for field in dataclasses.fields(self) if field.name in scope]
        return found[0] if found else 1.0


def shares(trees: Sequence[Tree], shape: Shape, parts: int) -> Shares:
    """Of the update of these trees, with rows over `parts` devices of the sequence axis."""
    laid = layout(trees, shape)
    rows = [row_segments([trees[t] for t in row], shape.row_tokens) for part in laid.micro for row in part]
    # rows of stand-ins repeat: each kind is laid out once
    kinds = collections.Counter((segment.tobytes(), prefix.tobytes()) for segment, prefix in rows)
    total = 0.0
    with jax.set_mesh(_here()):
        for ids, count in kinds.items():
            padded = (np.pad(np.frombuffer(x, np.int32), (0, -shape.row_tokens % (splash.LANES * parts)))[None] for x in ids)
            total += count * float(np.mean(splash.tree_mask(*padded, parts).visible))
    grids = [image.grid for part in laid.images for image in part.values()]
    return Shares(total / len(rows), image_share(grids, laid.windows))


def image_share(grids: Sequence[tuple[int, int]], padded: int) -> float:
    """Of images laid out in `padded` windows each."""
    total = 0.0
    for grid, count in collections.Counter(grids).items():
        valid = np.zeros((1, padded * SLOTS + -padded * SLOTS % splash.LANES), bool)
        valid[0, windows.layout(grid)[0]] = True
        with jax.set_mesh(_here()):
            total += count * float(np.mean(splash.valid_mask(jnp.asarray(valid)).visible))
    return total / len(grids) if grids else 1.0


def _here() -> jax.sharding.Mesh:
    """A mesh on which a value can be computed, whichever machine is planned for."""
    return make_mesh(devices=jax.devices("cpu")[:1])
