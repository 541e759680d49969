"""Train a policy: SFT or RL, as the config says. Resumes the run directory if it holds a checkpoint.

    python -m recoder_jax.train --config=configs/tiny/sft.py --workdir=runs/sft [--config.optimizer.learning_rate=3e-4]
"""

import argparse
import contextlib
import importlib.metadata
import platform
import sys
import time
from collections.abc import Callable, Sequence

import jax
from ml_collections import ConfigDict
from tqdm import tqdm

from recoder_jax import factory
from recoder_jax.configuration import load
from recoder_jax.doors import door
from recoder_jax.learner import Learner, anchor_of, check_rows, has_reference, learner_of, pack_trees, padding_share, update_metrics
from recoder_jax.learning.checkpoint import Checkpoints
from recoder_jax.learning.step import TrainState, initial_state, moments_in, place
from recoder_jax.rollout.lessons import Lesson, RolloutLessons, SupervisedLessons
from recoder_jax.runs.directory import RunDirectory
from recoder_jax.runs.report import flatten
from recoder_jax.runs.trackers import check_installed
from recoder_jax.sampling.budget import cache_line
from recoder_jax.sampling.timeline import Span, tracks
from recoder_jax.watching import Watch, stop_on


def train(config: ConfigDict, workdir: str) -> None:
    """Run a training from its last checkpoint, or its beginning, to `config.steps` updates."""
    check_installed(tensorboard=config.log.tensorboard, wandb=config.log.wandb)
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
            lessons = rollout_lessons(config, policy, mesh, run, stack)
        else:
            lessons = SupervisedLessons(config, policy.encoder)

        learner = learner_of(config, policy, mesh)
        if start:
            state = checkpoints.restore(learner.abstract, config.seed)
        else:
            state = initial_state(factory.initial_params(config, policy, mesh), learner.optimizer, learner.placed)
        run.write_config(config.to_dict() | {"versions": versions()})
        run.rewind(start)
        watch = stack.enter_context(Watch(run, config))

        progress = tqdm(range(start, config.steps), initial=start, total=config.steps, desc=config.name, unit="step", mininterval=1.0)
        for step in progress:
            began = time.perf_counter()
            lesson, state = learned_from(lessons, state, step, learner, rl and config.rollout.offload)
            batch = place(pack_trees(lesson.trees, config, policy.config.image_id), mesh)
            handed = time.perf_counter()
            state, *measured = learner.step(state, batch)
            metrics = lesson.metrics | update_metrics(config, *measured, float(learner.rate(step * config.objective.updates)))
            metrics["batch/padding"] = padding_share(batch, lesson.trees)
            del batch  # or it would lie on the devices during the next rollout
            ended = time.perf_counter()
            metrics |= {"time/update": ended - handed, "time/step": ended - began}
            metrics["throughput/trained_tokens_per_s"] = metrics["batch/trained_tokens"] / (ended - handed)
            alarms = watch.write(step + 1, metrics, lesson.alarms, progress.write)
            last = step + 1 == config.steps
            if lesson.records and (alarms or last or step == 0 or (step + 1) % config.log.rollouts_every == 0):
                run.write_rollouts(step + 1, lesson.records())
                run.write_timeline(step + 1, tracks([*lesson.spans, Span("update", handed, ended)], began))
            if last or (step + 1) % config.checkpoint.every == 0:
                checkpoints.save(state, config.seed)
            progress.set_postfix(summary(metrics, rl), refresh=False)
            stop_on(alarms)


def rollout_lessons(config: ConfigDict, policy: factory.Policy, mesh: jax.sharding.Mesh, run: RunDirectory, stack: contextlib.ExitStack) -> RolloutLessons:
    """What plays and rewards the dialogues of a run; its sandbox and its judge close with `stack`."""
    sandbox = stack.enter_context(factory.sandbox_of(config))
    print(f"{config.name}: {sandbox.summary()}", flush=True)
    reward = factory.mixture_of(config, stack.enter_context(factory.judge_of(config, mesh)))
    player = factory.player_of(policy, sandbox, reward, mesh, factory.goldens_of(config), factory.slots_of(config), config.batch.least_windows)
    anchor = anchor_of(config, policy, mesh, run.path) if has_reference(config) else None
    lessons = RolloutLessons(config, player, factory.plan_of(config), run, anchor)
    print(f"{config.name}: {cache_line(lessons.room, player.sampler)}", flush=True)
    return lessons


def learned_from(lessons: Callable, state: TrainState, step: int, learner: Learner, offload: bool) -> tuple[Lesson, TrainState]:
    """The lesson of a step and the state as the step takes it. offload: the moments lie in the host's memory meanwhile."""
    if not offload:
        return lessons(state.params, step), state
    resting = moments_in(state, learner.placed, "pinned_host")
    del state
    return lessons(resting.params, step), moments_in(resting, learner.placed, "device")


def check_same_run(config: ConfigDict, saved: dict) -> None:
    """Refuse to go on with a run under a config that would have made another one; lengths, places and logs may change.

    A key that the code did not have when the run was started is not compared.
    """
    free = ("name", "steps", "mesh.", "rollout.offload", "sandbox.workers", "sandbox.isolation", "checkpoint.", "log.", "alarms.", "evaluation.", "judge.", "data.dir", "versions.")
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
    options, overrides = parser.parse_known_args(arguments)
    return door("train", lambda: train(load(options.config, overrides), options.workdir))


if __name__ == "__main__":
    sys.exit(main())
