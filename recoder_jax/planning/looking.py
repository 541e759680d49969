"""What the visual reward costs the devices of the policy: its weights beside everything else, and a call that looks at views.

Figures that count work are of one view on every chip, which look at different ones; memory is that of a call of `visual.batch` views.
"""

import dataclasses
import math

import jax
import numpy as np
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from ml_collections import ConfigDict

from recoder_jax import factory
from recoder_jax.models import observers
from recoder_jax.planning.compiling import Compiled, compile_step, held_bytes


@dataclasses.dataclass(frozen=True)
class Looking:
    """The observer of a config, abstract, with a copy on every chip of a mesh."""

    config: ConfigDict
    mesh: Mesh

    @property
    def state(self) -> nnx.State | None:
        """None where nothing looks, or the host does."""
        visual = self.config.visual
        if self.config.kind != "rl" or not factory.has_visual(self.config) or visual.device != "policy":
            return None
        return jax.tree.map(self._placed, nnx.state(observers.abstract(self._sizes)))

    @property
    def held(self) -> int:
        """Bytes a chip of its weights."""
        return held_bytes(self.state) if self.state is not None else 0

    def compiled(self) -> Compiled:
        visual = self.config.visual
        views = self._placed(jax.ShapeDtypeStruct((visual.batch, visual.side, visual.side, 3), np.uint8))
        count = self._placed(jax.ShapeDtypeStruct((), np.int32))
        graphdef = nnx.graphdef(observers.abstract(self._sizes))
        done = compile_step(observers.signatures, {"observer": self.state, "views": views, "count": count}, graphdef=graphdef)
        return dataclasses.replace(done, work=dataclasses.replace(done.work, flops=done.work.flops * self.mesh.size))

    def runs(self, renders: int, charts: int) -> int:
        """Times that all chips look at a view, where every image has the most tiles."""
        tiles = self.config.visual.tiles
        return math.ceil((renders + charts) * (tiles + (tiles > 1)) / self.mesh.size)

    def flops(self) -> float:
        """Of a view on every chip, by the rule of `observers.flops`."""
        return self.mesh.size * observers.flops(self._sizes, self.config.visual.side)

    @property
    def _sizes(self) -> observers.Config:
        return observers.config_of(self.config.visual.model, self.config.visual.dtype)

    def _placed(self, x: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=NamedSharding(self.mesh, PartitionSpec()))
