"""What updates a policy: from a config to its batch, its optimizer and its jitted step. `train`, `plan` and `bench` take the same."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict

from recoder_jax import factory
from recoder_jax.learning.batch import Batch, Counts, Layout, Shape, Tree, counts_of, layout, pack, token_weights, unpack
from recoder_jax.learning.objective import Clip
from recoder_jax.learning.reference import load_reference, save_reference
from recoder_jax.learning.step import QUANTILES, Measured, Objective, TrainState, make_optimizer, make_scorer, make_step, own_rows, place
from recoder_jax.processes import gathered
from recoder_jax.rollout.anchors import Anchor


@dataclasses.dataclass(frozen=True)
class Learner:
    """What updates a policy on a mesh. rate: learning rate of an update. abstract: the shapes of the state, placed; placed: their
    shardings. step: the jitted (state, batch) -> (state, Measured, gradient norm, quantiles of the ratio)."""

    optimizer: optax.GradientTransformation
    rate: optax.Schedule
    abstract: TrainState
    placed: TrainState
    step: Callable


def learner_of(config: ConfigDict, policy: factory.Policy, mesh: jax.sharding.Mesh) -> Learner:
    """The optimizer and the step of a config; nothing is allocated."""
    optimizer, rate = make_optimizer(steps=config.steps * config.objective.updates, **config.optimizer)
    abstract = abstract_state(policy, optimizer, mesh)
    placed = jax.tree.map(lambda leaf: leaf.sharding, abstract)
    return Learner(optimizer, rate, abstract, placed, make_step(policy.graphdef, optimizer, objective_of(config), placed))


def abstract_state(policy: factory.Policy, optimizer, mesh: jax.sharding.Mesh) -> TrainState:
    """The shapes of everything a step changes, placed: moments lie where their parameters lie, the step on every device."""
    params = policy.abstract(mesh)
    moments = factory.place_abstract(jax.eval_shape(optimizer.init, params), mesh)
    step = jax.ShapeDtypeStruct((), jnp.int32, sharding=jax.NamedSharding(mesh, jax.P()))
    return TrainState(params, moments, step)


def check_rows(config: ConfigDict, mesh: jax.sharding.Mesh) -> None:
    share = mesh.shape["data"] * mesh.shape["fsdp"]
    if config.batch.rows % share:
        raise ValueError(f"batch.rows is {config.batch.rows}, not a multiple of the {share} devices of the mesh's data and fsdp axes; change one")
    if config.batch.size % jax.process_count():
        raise ValueError(f"batch.size is {config.batch.size}, which {jax.process_count()} processes cannot share evenly; make it a multiple of that")
    if config.judge.policy and jax.process_count() > 1:
        raise ValueError("judge.policy runs a judge in one process, and there are several; start a server and give judge.base_url")


@dataclasses.dataclass(frozen=True)
class Packed:
    """What an update takes. local: the arrays of this process's trees. where: they lie in it. padding: share of the tokens of all rows, over
    all processes, that belong to no tree."""

    local: Batch
    where: Layout
    padding: float


def packed(trees: Sequence[Tree], config: ConfigDict, mesh: jax.sharding.Mesh, image_id: int) -> Packed:
    """This process's share of a batch, in sizes that all processes agree on and with weights from counts over all of it. All of them call it."""
    processes, shape = jax.process_count(), shape_of(config)
    shape = dataclasses.replace(shape, rows=shape.rows // processes)
    where = layout(trees, shape)
    told = gathered([where.sizes, dataclasses.astuple(counts_of(trees))])
    parts, trained, images, windows = map(max, *[sizes for sizes, _ in told], where.sizes)
    own = mesh.shape["data"] * mesh.shape["fsdp"] // processes if processes > 1 else 1
    where = where.grown((parts, trained, -(-images // own) * own, windows))  # or images would not lie over the devices of all processes
    counts = sum((Counts(*counts) for _, counts in told), Counts())
    weights = token_weights(trees, config.objective.aggregation, config.objective.constant, counts)
    local = pack(trees, weights, shape, image_id, where, jax.process_index())
    return Packed(local, where, 1 - counts.size / (local.tokens.size * processes))


def shape_of(config: ConfigDict) -> Shape:
    """The padded sizes of an update's batch, over all processes."""
    sizes = config.batch
    return Shape(sizes.micro_batches, sizes.rows, sizes.row_tokens, sizes.least_trained, sizes.least_images, sizes.least_windows)


def objective_of(config: ConfigDict) -> Objective:
    """What an update minimises. Only a batch that is used more than once needs bounds of the ratio."""
    bounds = Clip(config.objective.clip_low, config.objective.clip_high, config.objective.clip_dual)
    updates = config.objective.updates
    return Objective(
        bounds if updates > 1 else None, config.batch.logit_chunk, config.optimizer.train_vision, updates,
        sequence_ratio=config.objective.ratio == "sequence", truncate=config.objective.truncate,
        kl=config.objective.kl_estimator if has_reference(config) else "", kl_in_loss=has_reference(config) and config.objective.kl_in == "loss",
    )


def has_reference(config: ConfigDict) -> bool:
    """Whether KL to the policy that the run started from has a weight."""
    return config.objective.kl > 0 or config.objective.kl_first_turn > 0


def anchor_of(config: ConfigDict, policy: factory.Policy, mesh: jax.sharding.Mesh, run: Path) -> Anchor:
    """KL to the policy that the run in `run` started from."""
    objective, reference = config.objective, Reference(config, policy, mesh, run)
    return Anchor(reference, objective.kl, objective.kl_first_turn, objective.kl_in == "reward", objective.kl_estimator)


class Reference:
    """The policy that a run started from, in the dtype of activations, which is all that a forward pass reads of it. Kept in the run
    directory, so that a resumed run has it whatever became of `config.init`."""

    def __init__(self, config: ConfigDict, policy: factory.Policy, mesh: jax.sharding.Mesh, run: Path):
        self._config, self._policy, self._mesh = config, policy, mesh
        self._score = make_scorer(policy.graphdef, objective_of(config), mesh)
        abstract = policy.abstract(mesh)
        held = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, config.model.dtype, sharding=x.sharding), abstract)
        self._params = load_reference(run, held)
        if self._params is None:
            cast = jax.jit(lambda params: jax.tree.map(lambda x: x.astype(config.model.dtype), params))
            self._params = cast(factory.initial_params(config, policy, mesh))
            save_reference(run, self._params)

    def __call__(self, trees: Sequence[Tree]) -> list[list[np.ndarray]]:
        """Its log probability of each trained token: float32 [n] for each strand of each tree, 0 on other tokens."""
        batch = packed(trees, self._config, self._mesh, self._policy.config.image_id)
        scores = self._score(self._params, place(batch.local, self._mesh))
        return unpack(own_rows(scores, self._mesh), trees, batch.where)


def update_metrics(config: ConfigDict, measured: Measured, gradient_norm, quantiles, rate: float) -> dict[str, float]:
    """Metrics of an update, means over its trained tokens. loss/ratio_q<percent>: quantiles of the ratio of the trained policy to the
    one that sampled."""
    sums = {field.name: float(getattr(measured, field.name)) for field in dataclasses.fields(measured)}
    tokens = max(sums["tokens"], 1.0)
    metrics = {
        "loss/nll": sums["nll"] / tokens,
        "loss/entropy": sums["entropy"] / tokens,
        "optimizer/grad_norm": float(gradient_norm),
        "optimizer/lr": rate,
        "batch/trained_tokens": sums["tokens"],
    }
    if config.kind == "rl":
        metrics |= {"loss/total": -sums["objective"], "loss/clipped": sums["clipped"] / tokens, "sampling/logprob_gap": sums["gap"] / tokens}
        metrics |= {f"loss/ratio_q{100 * share:.0f}": float(value) for share, value in zip(QUANTILES, quantiles, strict=True)}
        metrics |= {"loss/kl": sums["kl"] / tokens} if has_reference(config) else {}
    return metrics
