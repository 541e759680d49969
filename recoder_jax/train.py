"""Train a policy: SFT or RL, as the config says. Resumes the run directory if it holds a checkpoint.

    python -m recoder_jax.train --config=configs/tiny/sft.py --workdir=runs/sft [--config.optimizer.learning_rate=3e-4]

SIGTERM, or SIGINT once, ends it after the running step with a checkpoint and exit code 75: the same command goes on. A step that is not
finite ends it with exit code 1 (objective.on_nonfinite).
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
from ml_collections import ConfigDict
from tqdm import tqdm

from recoder_jax import factory
from recoder_jax.configuration import load
from recoder_jax.doors import door
from recoder_jax.faults import fault_of, keep_fault, stop_before
from recoder_jax.lagging import Lag
from recoder_jax.learner import Learner, anchor_of, check_rows, has_reference, learner_of, packed, update_metrics
from recoder_jax.learning.batch import Batch
from recoder_jax.learning.checkpoint import Checkpoints, Position, Retention
from recoder_jax.learning.step import TrainState, initial_state, moments_in, place
from recoder_jax.liveness import Liveness
from recoder_jax.processes import agreed, join
from recoder_jax.profiling import Profile
from recoder_jax.rollout.lessons import Lesson, RolloutLessons, SupervisedLessons, all_records
from recoder_jax.runs.directory import RunDirectory
from recoder_jax.runs.mirror import Mirror
from recoder_jax.runs.report import flatten
from recoder_jax.runs.trackers import check_installed
from recoder_jax.sampling.budget import cache_line
from recoder_jax.sampling.timeline import Span, spent, tracks
from recoder_jax.saving import Saver
from recoder_jax.stopping import StopRequest, leave
from recoder_jax.watching import Watch, stop_on


def train(config: ConfigDict, workdir: str) -> None:
    """Run a training from its last checkpoint, or its beginning, to `config.steps` updates."""
    check_installed(tensorboard=config.log.tensorboard, wandb=config.log.wandb)
    run, mesh, rl = RunDirectory(workdir), factory.mesh_of(config), config.kind == "rl"
    check_rows(config, mesh)
    policy = factory.policy_of(config)  # before threads begin that a missing tokenizer would leave behind
    with contextlib.ExitStack() as stack:
        stack.enter_context(jax.set_mesh(mesh))
        stack.enter_context(Liveness(run.path, jax.process_index(), jax.process_count()))
        told = stack.enter_context(StopRequest())
        mirror = stack.enter_context(Mirror(run.path, config.mirror)) if config.mirror and first() else None
        agreed(False)  # what the first process fetched is there
        checkpoints = stack.enter_context(Checkpoints(run.path / "checkpoints", Retention(config.checkpoint.keep, config.checkpoint.keep_every)))
        start = checkpoints.step
        if start:
            check_same_run(config, run.read_config())
        where = f"resumes at step {start}" if start else "starts"
        say(f"{config.name}: {policy.config.parameters() / 1e6:.2f} M parameters, {config.steps} steps, {where}, in {workdir}")
        if start >= config.steps:
            say(f"{config.name}: done already; choose another --workdir or raise --config.steps to go on")
            return
        if rl:
            lessons = rollout_lessons(config, policy, mesh, run, stack)
        else:
            lessons = SupervisedLessons(config, policy.encoder)

        learner = learner_of(config, policy, mesh)
        if start:
            state, position = checkpoints.restore(learner.abstract, config.seed, config.batch.size)
        else:
            state = initial_state(factory.initial_params(config, policy, mesh), learner.optimizer, learner.placed)
            position = Position(0, config.seed, 0)
        watch, profile = None, stack.enter_context(Profile(run.path / "profile", config.profile if first() else ()))
        if first():
            run.write_config(config.to_dict() | {"versions": versions()})
            run.rewind(start)
            watch = stack.enter_context(Watch(run, config))
        walk(Parts(config, run, mesh, policy, learner, lessons, checkpoints, told, watch, profile, mirror), state, position)


@dataclasses.dataclass(frozen=True)
class Parts:
    """What the steps of a run are made with. watch, mirror: in the first process, which writes what all of them measured."""

    config: ConfigDict
    run: RunDirectory
    mesh: jax.sharding.Mesh
    policy: factory.Policy
    learner: Learner
    lessons: Callable
    checkpoints: Checkpoints
    told: StopRequest
    watch: Watch | None
    profile: Profile
    mirror: Mirror | None


def walk(parts: Parts, state: TrainState, position: Position) -> None:
    """All steps from a position on. Raises Ended when the run is told to stop, or at a step that is not finite."""
    config, start = parts.config, position.step
    rl, saver = config.kind == "rl", Saver(config, parts.checkpoints)
    if reason := parts.told.reached(start):
        leave(start, reason, saved=start > 0)
    ended, lag = None, Lag()
    steps = range(start, config.steps)
    with tqdm(steps, initial=start, total=config.steps, desc=config.name, unit="step", mininterval=1.0, disable=not first()) as progress:
        for step in progress:
            parts.profile.before(step + 1)
            began, since = time.perf_counter(), ended
            lesson, state = learned_from(parts.lessons, state, position, parts.learner, rl and config.rollout.offload)
            batch = packed(lesson.trees, config, parts.mesh, parts.policy.config.image_id)
            placed, handed = place(batch.local, parts.mesh), time.perf_counter()
            state, metrics, fault = updated(parts.learner, state, placed, lesson, config)
            del placed  # or it would lie on the devices during the next rollout
            ended = time.perf_counter()
            parts.profile.after(step + 1)
            if fault:
                said = keep_fault(parts.run, step + 1, lesson, batch.local, fault)
                if config.objective.on_nonfinite == "stop":
                    before = dataclasses.replace(state, step=counted(step, parts.learner))
                    stop_before(parts.checkpoints, before, position, config.objective.updates == 1, said)
                progress.write(f"{config.name}, {said}")
            spans = [*lesson.spans, Span("update", handed, ended)]
            metrics = lesson.metrics | metrics | times(spans, since, began, ended) | {"batch/padding": batch.padding}
            metrics["throughput/trained_tokens_per_s"] = metrics.get("batch/trained_tokens", 0.0) / (ended - handed)
            alarms = parts.watch.write(step + 1, metrics, lesson.alarms, progress.write) if parts.watch else []
            last, position = step + 1 == config.steps, Position(step + 1, config.seed, lesson.stop)
            loud = agreed(bool(alarms or fault))
            if lesson.records and (loud or last or step == 0 or (step + 1) % config.log.rollouts_every == 0):
                keep_dialogues(parts.run, step + 1, lesson, tracks(spans, began))
            lagging = lag.note(step + 1, lesson.own, ended - began)
            for sentence in lagging if first() else []:
                progress.write(f"{config.name}, step {step + 1}: {sentence}")
            reason = parts.told.reached(step + 1)
            if unscored := saver.after_step(state, position, metrics, told=bool(reason)):
                progress.write(f"{config.name}, step {step + 1}: {unscored}")
            if parts.mirror:
                parts.mirror.wake()
            progress.set_postfix(summary(metrics, rl), refresh=False)
            stop_on(alarms)
            if reason and not last:
                parts.checkpoints.wait()
                leave(step + 1, reason, saved=True)


def keep_dialogues(run: RunDirectory, step: int, lesson: Lesson, timeline: dict[str, list[tuple[float, float]]]) -> None:
    """Write the dialogues of all processes, and when the first one's device and host worked."""
    records = all_records(lesson.records())
    if first():
        run.write_rollouts(step, records)
        run.write_timeline(step, timeline)


def times(spans: list[Span], since: float | None, began: float, ended: float) -> dict[str, float]:
    """Seconds of a step, of its update, and what it was spent on; spent_save: between the step before, which ended at `since`, and this one,
    where checkpoint, metrics and dialogues were written. The last span is the update's."""
    shares = spent(spans, began, ended) | {"save": 0.0 if since is None else began - since}
    update = {"time/update": spans[-1].end - spans[-1].begin, "time/step": ended - began}
    return update | {f"time/spent_{name}": seconds for name, seconds in shares.items()}


def first() -> bool:
    """Whether this is the process that writes and speaks."""
    return jax.process_index() == 0


def say(sentence: str) -> None:
    if first():
        print(sentence, flush=True)


def rollout_lessons(config: ConfigDict, policy: factory.Policy, mesh: jax.sharding.Mesh, run: RunDirectory, stack: contextlib.ExitStack) -> RolloutLessons:
    """What plays and rewards the dialogues of a run; its sandbox and its judge close with `stack`."""
    sandbox = stack.enter_context(factory.sandbox_of(config))
    say(f"{config.name}: {sandbox.summary()}")
    visual = stack.enter_context(factory.visual_of(config, mesh))
    reward = factory.mixture_of(config, stack.enter_context(factory.judge_of(config, mesh)), visual)
    player = factory.player_of(
        policy, sandbox, reward, mesh, factory.goldens_of(config), factory.slots_of(config), config.batch.least_windows, config.data.language
    )
    anchor = anchor_of(config, policy, mesh, run.path) if has_reference(config) else None
    lessons = RolloutLessons(config, player, factory.plan_of(config), run, anchor)
    say(f"{config.name}: {cache_line(lessons.room, player.sampler)}")
    return lessons


def updated(learner: Learner, state: TrainState, batch: Batch, lesson: Lesson, config: ConfigDict) -> tuple[TrainState, dict[str, float], str | None]:
    """The state after a step, its metrics, and what of it is not finite; then parameters and moments are as they were. Rewards that are not
    finite are no update, since advantages hide them."""
    rate = float(learner.rate(int(state.step) * config.objective.updates))
    if agreed(lesson.fault is not None):
        state, metrics = dataclasses.replace(state, step=counted(int(state.step) + 1, learner)), {}
        fault = lesson.fault or "a reward in another process"
    else:
        state, measured, norm, quantiles = learner.step(state, batch)
        metrics, fault = update_metrics(config, measured, norm, quantiles, rate), fault_of(measured, float(norm))
    if config.objective.on_nonfinite == "skip":
        metrics["optimizer/skipped"] = float(fault is not None)
    return state, metrics, fault


def counted(step: int, learner: Learner) -> jax.Array:
    """The number of updates done as a state holds it."""
    return jax.device_put(jnp.int32(step), learner.placed.step)


def learned_from(lessons: Callable, state: TrainState, position: Position, learner: Learner, offload: bool) -> tuple[Lesson, TrainState]:
    """The lesson of a step and the state as the step takes it. offload: the moments lie in the host's memory meanwhile."""
    if not offload:
        return lessons(state.params, position.step, position.charts), state
    resting = moments_in(state, learner.placed, "pinned_host")
    del state
    return lessons(resting.params, position.step, position.charts), moments_in(resting, learner.placed, "device")


def check_same_run(config: ConfigDict, saved: dict) -> None:
    """Refuse to go on with a run under a config that would have made another one; lengths, places and logs may change.

    A key that the code did not have when the run was started is not compared. objective.on_nonfinite may change, so that a run which a step
    stopped can go on without it.
    """
    free = ("name", "steps", "profile", "mirror", "mesh.", "rollout.offload", "objective.on_nonfinite", "sandbox.workers", "sandbox.isolation", "checkpoint.", "log.", "alarms.", "evaluation.", "judge.", "data.dir", "visual.batch", "versions.")
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
    parser.add_argument("--coordinator", metavar="HOST:PORT", help="one of several processes: where the first of them listens, or auto on a cluster that jax knows")
    parser.add_argument("--processes", type=int, metavar="N", help="how many there are; not with auto")
    parser.add_argument("--process", type=int, metavar="I", help="number of this one, from 0; not with auto")
    options, overrides = parser.parse_known_args(arguments)

    def run():
        config = load(options.config, overrides)
        if options.coordinator or options.processes or options.process:
            join(options.coordinator, options.processes, options.process)
        train(config, options.workdir)

    return door("train", run)


if __name__ == "__main__":
    sys.exit(main())
