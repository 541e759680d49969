"""What updates a policy: from a config to its batch, its optimizer and its jitted step. `train`, `plan` and `bench` take the same."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from recoder_jax import factory
from recoder_jax.learning.batch import Batch, Shape, Tree, pack, token_weights
from recoder_jax.learning.objective import Clip
from recoder_jax.learning.step import Measured, Objective, TrainState, make_optimizer, make_step


@dataclasses.dataclass(frozen=True)
class Learner:
    """What updates a policy on a mesh. rate: learning rate of an update. abstract: the shapes of the state, placed; placed: their
    shardings. step: the jitted (state, batch) -> (state, Measured, gradient norm)."""

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


def pack_trees(trees: list[Tree], config: ConfigDict, image_id: int) -> Batch:
    """The packed batch of an update, with weights from counts over all of it."""
    return pack(trees, token_weights(trees, config.objective.aggregation, config.objective.constant), shape_of(config), image_id)


def shape_of(config: ConfigDict) -> Shape:
    """The padded sizes of an update's batch."""
    sizes = config.batch
    return Shape(sizes.micro_batches, sizes.rows, sizes.row_tokens, sizes.least_trained, sizes.least_images, sizes.least_windows)


def objective_of(config: ConfigDict) -> Objective:
    """What an update minimises. Only a batch that is used more than once needs bounds of the ratio."""
    bounds = Clip(config.objective.clip_low, config.objective.clip_high, config.objective.clip_dual)
    updates = config.objective.updates
    return Objective(
        bounds if updates > 1 else None, config.batch.logit_chunk, config.optimizer.train_vision, updates,
        sequence_ratio=config.objective.ratio == "sequence", truncate=config.objective.truncate,
    )


def update_metrics(measured: Measured, gradient_norm, rate: float, rl: bool) -> dict[str, float]:
    """Metrics of an update, means over its trained tokens."""
    sums = {field.name: float(getattr(measured, field.name)) for field in dataclasses.fields(measured)}
    tokens = max(sums["tokens"], 1.0)
    metrics = {
        "loss/nll": sums["nll"] / tokens,
        "loss/entropy": sums["entropy"] / tokens,
        "optimizer/grad_norm": float(gradient_norm),
        "optimizer/lr": rate,
        "batch/trained_tokens": sums["tokens"],
    }
    if rl:
        metrics |= {"loss/total": -sums["objective"], "loss/clipped": sums["clipped"] / tokens, "sampling/logprob_gap": sums["gap"] / tokens}
    return metrics
