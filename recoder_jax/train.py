"""Train a policy: SFT or RL, as the config says. Resumes the run directory if it holds a checkpoint.

    python -m recoder_jax.train --config=configs/tiny/sft.py --workdir=runs/sft [--config.optimizer.learning_rate=3e-4]
"""

import argparse
import contextlib
import dataclasses
import importlib.metadata
import platform
import sys
import time
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict
from tqdm import tqdm

from recoder_jax import factory
from recoder_jax.configuration import load
from recoder_jax.doors import door
from recoder_jax.learning.batch import Batch, Shape, Tree, pack, token_weights
from recoder_jax.learning.checkpoint import Checkpoints
from recoder_jax.learning.objective import Clip
from recoder_jax.learning.step import Measured, Objective, TrainState, initial_state, make_optimizer, make_step, moments_in, place
from recoder_jax.rollout.lessons import Lesson, RolloutLessons, SupervisedLessons
from recoder_jax.runs.directory import RunDirectory
from recoder_jax.runs.report import flatten
from recoder_jax.sampling.budget import cache_line
from recoder_jax.sampling.timeline import Span, tracks


def train(config: ConfigDict, workdir: str) -> None:
    """Run a training from its last checkpoint, or its beginning, to `config.steps` updates."""
    run, mesh, rl = RunDirectory(workdir), factory.mesh_of(config), config.kind == "rl"
    check_rows(config, mesh)
    with contextlib.ExitStack() as stack:
        stack.enter_context(jax.set_mesh(mesh))
        checkpoints = stack.enter_context(Checkpoints(run.path / "checkpoints", config.checkpoint.keep))
        start = checkpoints.step
        if start:
            check_same_run(config, run.read_config())
        policy = factory.policy_of(config)
        where = f"resumes at step {start}" if start else "starts"
        print(f"{config.name}: {policy.config.parameters() / 1e6:.2f} M parameters, {config.steps} steps, {where}, in {workdir}", flush=True)
        if start >= config.steps:
            print(f"{config.name}: done already; choose another --workdir or raise --config.steps to go on", flush=True)
            return
        if rl:
            sandbox = stack.enter_context(factory.sandbox_of(config))
            print(f"{config.name}: {sandbox.summary()}", flush=True)
            judge = stack.enter_context(factory.judge_of(config, mesh))
            reward = factory.mixture_of(config, judge)
            goldens, slots = factory.goldens_of(config), factory.slots_of(config)
            player = factory.player_of(policy, sandbox, reward, mesh, goldens, slots, config.batch.least_windows)
            lessons = RolloutLessons(config, player, factory.plan_of(config), run)
            print(f"{config.name}: {cache_line(lessons.room, player.sampler)}", flush=True)
        else:
            lessons = SupervisedLessons(config, policy.encoder)

        learner = learner_of(config, policy, mesh)
        if start:
            state = checkpoints.restore(learner.abstract, config.seed)
        else:
            state = initial_state(factory.initial_params(config, policy, mesh), learner.optimizer, learner.placed)
        run.write_config(config.to_dict() | {"versions": versions()})
        run.rewind(start)

        progress = tqdm(range(start, config.steps), initial=start, total=config.steps, desc=config.name, unit="step", mininterval=1.0)
        for step in progress:
            began = time.perf_counter()
            lesson, state = learned_from(lessons, state, step, learner, rl and config.rollout.offload)
            batch = place(pack_trees(lesson.trees, config, policy.config.image_id), mesh)
            handed = time.perf_counter()
            state, measured, gradient_norm = learner.step(state, batch)
            metrics = lesson.metrics | update_metrics(measured, gradient_norm, float(learner.rate(step * config.objective.updates)), rl)
            del batch  # or it would lie on the devices during the next rollout
            ended = time.perf_counter()
            metrics |= {"time/update": ended - handed, "time/step": ended - began}
            metrics["throughput/trained_tokens_per_s"] = metrics["batch/trained_tokens"] / (ended - handed)
            run.write_metrics(step + 1, metrics)
            for alarm in lesson.alarms:
                progress.write(f"{config.name}, step {step + 1}: {alarm}")
            last = step + 1 == config.steps
            if lesson.records and (lesson.alarms or last or step == 0 or (step + 1) % config.log.rollouts_every == 0):
                run.write_rollouts(step + 1, lesson.records())
                run.write_timeline(step + 1, tracks([*lesson.spans, Span("update", handed, ended)], began))
            if last or (step + 1) % config.checkpoint.every == 0:
                checkpoints.save(state, config.seed)
            progress.set_postfix(summary(metrics, rl), refresh=False)


def learned_from(lessons: Callable, state: TrainState, step: int, learner: "Learner", offload: bool) -> tuple[Lesson, TrainState]:
    """The lesson of a step and the state as the step takes it. offload: the moments lie in the host's memory meanwhile."""
    if not offload:
        return lessons(state.params, step), state
    resting = moments_in(state, learner.placed, "pinned_host")
    del state
    return lessons(resting.params, step), moments_in(resting, learner.placed, "device")


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


def check_same_run(config: ConfigDict, saved: dict) -> None:
    """Refuse to go on with a run under a config that would have made another one; lengths, places and logs may change.

    A key that the code did not have when the run was started is not compared.
    """
    free = ("name", "steps", "mesh.", "rollout.offload", "sandbox.workers", "sandbox.isolation", "checkpoint.", "log.", "evaluation.", "judge.", "data.dir", "versions.")
    held = ("judge.model", "judge.policy", "judge.max_pixels")  # unlike addresses and deadlines, they change what a reward is
    now, then = flatten(config.to_dict()), flatten(saved)
    compared = [key for key in now if key in held or not key.startswith(free)]
    changed = [key for key in compared if now[key] != then.get(key, now[key])]
    if changed:
        key = changed[0]
        raise ValueError(f"the run was started with {key} = {then[key]!r}, now it is {now[key]!r}; choose a new --workdir")


def versions() -> dict[str, str]:
    """Versions of what decides a run's numbers."""
    return {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in ("jax", "flax", "optax", "matplotlib", "numpy")}


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


def summary(metrics: dict[str, float], rl: bool) -> dict[str, str]:
    """What the progress bar shows."""
    if rl:
        turns = sorted(name for name in metrics if name.endswith("/low_level"))
        return {"reward": f"{metrics['reward/total']:.3f}"} | {name.split("/")[0]: f"{metrics[name]:.1f}" for name in turns}
    return {"nll": f"{metrics['loss/nll']:.4f}"}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m recoder_jax.train", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--workdir", required=True, metavar="RUN", help="run directory; resumed if it holds a checkpoint")
    parser.add_argument("--config", required=True, metavar="FILE", help="config file; --config.a.b=value overrides a key")
    options, overrides = parser.parse_known_args(arguments)
    return door("train", lambda: train(load(options.config, overrides), options.workdir))


if __name__ == "__main__":
    sys.exit(main())
