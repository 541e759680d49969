"""The update of a config on the local devices, ready to be timed: real state with random weights, a batch that fills the rows."""

import contextlib
import dataclasses
import resource
import time
from collections.abc import Sequence
from typing import Any, Self

import jax
import numpy as np
from ml_collections import ConfigDict

from recoder_jax import factory, learner
from recoder_jax.dialogue.encoder import Encoder
from recoder_jax.learning.batch import Strand, Tree
from recoder_jax.learning.flops import training_flops
from recoder_jax.learning.step import initial_state, place
from recoder_jax.planning.machines import Chip
from recoder_jax.planning.stand_ins import trees_of


@dataclasses.dataclass(frozen=True)
class Step:
    """One update. seconds: until everything it gives is there. core_seconds: that the process had the cores for it, all threads
    together; what else runs on the machine adds little to them. loss: mean of -log p over the trained tokens, before the update.
    gradient_norm: before clipping."""

    seconds: float
    core_seconds: float
    loss: float
    gradient_norm: float


@dataclasses.dataclass(frozen=True)
class Rival:
    """Another way of the same update. way: how it is made, in words. update: has `step`. tokens, flops: of a step, as `Update.work` counts
    them. trials: seconds of the variants it was chosen from."""

    name: str
    way: str
    update: Any
    tokens: int
    flops: float
    trials: dict[str, float] = dataclasses.field(default_factory=dict)


class Update:
    """The learner of `train`, its state and one batch. A context manager: steps run under the config's mesh.

    turns: of an SFT dialogue. size: (height, width) of the images, as of `planning.stand_ins`. trees: of the batch; by default stand-ins at
    the config's caps. Raises ValueError where the config does not fit the devices.
    """

    def __init__(self, config: ConfigDict, turns: int, size: tuple[int, int] | None = None, trees: Sequence[Tree] | None = None):
        self.config, self.mesh = config, factory.mesh_of(config)
        learner.check_rows(config, self.mesh)
        self.policy = factory.policy_of(config)
        self.learner = learner.learner_of(config, self.policy, self.mesh)
        self.trees = trees or filled(trees_of(config, self.policy.encoder, turns, size), self.policy.encoder, config.seed)

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            stack.enter_context(jax.set_mesh(self.mesh))
            began = time.perf_counter()
            self.batch = place(learner.packed(self.trees, self.config, self.mesh, self.policy.config.image_id).local, self.mesh)
            jax.block_until_ready(self.batch)
            self.pack_seconds = time.perf_counter() - began
            self.state = initial_state(self.initial_params(), self.learner.optimizer, self.learner.placed)
            began = time.perf_counter()
            self._compiled = self.learner.step.lower(self.state, self.batch).compile()
            self.compile_seconds = time.perf_counter() - began
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exception) -> None:
        self._stack.close()

    def initial_params(self):
        """The weights before the first update; the same at every call."""
        return factory.initial_params(self.config, self.policy, self.mesh)

    def step(self) -> Step:
        """Trains once on the batch."""
        began, cores = time.perf_counter(), time.process_time()
        self.state, measured, norm, _ = jax.block_until_ready(self._compiled(self.state, self.batch))
        seconds, cores = time.perf_counter() - began, time.process_time() - cores
        return Step(seconds, cores, float(measured.nll) / max(float(measured.tokens), 1.0), float(norm))

    def work(self) -> dict[str, float]:
        """What one step does on all devices; all updates of the objective together."""
        updates, sizes = self.config.objective.updates, self.config.batch
        pieces = [piece for tree in self.trees for piece, _ in tree.strands()]
        tokens = sum(len(piece.ids) for piece in pieces)
        return {
            "trees": len(self.trees), "images": sum(len(piece.images) for piece in pieces), "updates": updates,
            "tokens": updates * tokens, "trained_tokens": updates * sum(int(piece.trained.sum()) for piece in pieces),
            "micro_batches": self.batch.tokens.shape[0], "rows": sizes.rows, "row_tokens": sizes.row_tokens,
            "filled": tokens / self.batch.tokens.size,
            "flops": updates * training_flops(self.trees, self.policy.config, self.config.optimizer.train_vision),
        }

    def peak_memory(self) -> dict[str, object]:
        """Bytes so far. On a CPU they are those of the whole process, compilation included."""
        stats = [device.memory_stats() or {} for device in self.mesh.local_devices]
        peaks = [stat["peak_bytes_in_use"] for stat in stats if "peak_bytes_in_use" in stat]
        if peaks:
            return {"bytes": max(peaks), "of": "the fullest device"}
        resident = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # Linux counts in KiB
        return {"bytes": resident, "of": "the process, compilation included"}


def filled(trees: Sequence[Tree], encoder: Encoder, seed: int) -> list[Tree]:
    """Stand-ins with random text for responses and random patches, so that an error of either shows in the loss."""
    rng = np.random.default_rng(seed)
    count = encoder.vocab_size
    words = np.setdiff1d(np.arange(count), [*encoder.forbidden_ids(count), encoder.end_id]).astype(np.int32)

    def fill(strand: Strand) -> Strand:
        images = tuple(dataclasses.replace(x, values=rng.standard_normal(x.values.shape, np.float32)) for x in strand.images)
        ids = np.where(strand.trained, rng.choice(words, len(strand.ids)), strand.ids)
        return dataclasses.replace(strand, ids=ids, images=images)

    return [dataclasses.replace(tree, prefix=fill(tree.prefix), suffixes=tuple(map(fill, tree.suffixes))) for tree in trees]


def utilisation(flops: float, seconds: float, chip: Chip | None, chips: int) -> float | None:
    """Model FLOP utilisation: FLOPs of a step over what the chips' stated peak allows in its time; None without a stated peak."""
    return None if chip is None else flops / (seconds * chip.flops * chips)
