"""Checkpoints of a run: parameters, optimizer and position, written by Orbax so that a kill at any moment loses no earlier one.

    RUN/checkpoints/<step>/params       parameters alone, for a warm start, evaluation, `correct` and export
    RUN/checkpoints/<step>/optimizer    optimizer state
    RUN/checkpoints/<step>/position     {"step": updates done, "seed": ...}

Data order, sampling keys and the rollout are functions of (seed, step), so the step is the whole position: no generator or
iterator state is kept beside it.
"""

import logging
from pathlib import Path

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp

from recoder_jax.learning.step import TrainState

ITEMS = ("params", "optimizer", "position")


class Checkpoints:
    """The checkpoints of one run directory. A context manager: leaving it waits for the last write."""

    def __init__(self, directory: str | Path, keep: int = 2):
        logging.getLogger("absl").setLevel(logging.ERROR)
        options = ocp.CheckpointManagerOptions(max_to_keep=keep, create=True, enable_async_checkpointing=True)
        self._manager = ocp.CheckpointManager(Path(directory).absolute(), item_names=ITEMS, options=options)

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_) -> None:
        self._manager.close()

    @property
    def step(self) -> int:
        """Step of the newest checkpoint, 0 when there is none."""
        return self._manager.latest_step() or 0

    def save(self, state: TrainState, seed: int) -> None:
        """Write a checkpoint of `state.step` updates in the background."""
        step = int(state.step)
        self._manager.save(
            step,
            args=ocp.args.Composite(
                params=ocp.args.StandardSave(named(state.params)),
                optimizer=ocp.args.StandardSave(named(state.optimizer)),
                position=ocp.args.JsonSave({"step": step, "seed": seed}),
            ),
        )

    def restore(self, state: TrainState, seed: int) -> TrainState:
        """The newest checkpoint in the shapes and shardings of `state` (abstract arrays).

        Raises ValueError when the run was started with another seed or another policy.
        """
        step = self.step
        position = self._manager.restore(step, args=ocp.args.Composite(position=ocp.args.JsonRestore())).position
        if position["seed"] != seed:
            raise ValueError(f"the run was started with seed {position['seed']}, not {seed}; keep the seed or choose a new --workdir")
        args = {name: ocp.args.StandardRestore(named(getattr(state, name))) for name in ITEMS[:2]}
        try:
            saved = self._manager.restore(step, args=ocp.args.Composite(**args))
        except (ValueError, KeyError) as error:
            raise ValueError(f"the checkpoint of step {step} does not fit this config: {first_line(error)}; choose a new --workdir") from None
        return TrainState(
            params=renamed(state.params, saved.params),
            optimizer=renamed(state.optimizer, saved.optimizer),
            step=jax.device_put(jnp.int32(step), state.step.sharding),
        )


def restore_params(run: str | Path, params):
    """Parameters of a run's newest checkpoint in the shapes and shardings of `params` (arrays or abstract arrays).

    Raises FileNotFoundError when the run holds no checkpoint, ValueError when it holds another policy.
    """
    step = latest_step(run)
    directory = Path(run).absolute() / "checkpoints"
    with ocp.CheckpointManager(directory, item_names=ITEMS) as manager:
        try:
            args = ocp.args.Composite(params=ocp.args.StandardRestore(named(params)))
            saved = manager.restore(step, args=args).params
        except (ValueError, KeyError) as error:
            raise ValueError(f"the checkpoint in {str(directory)!r} is of another policy: {first_line(error)}") from None
    return renamed(params, saved)


def latest_step(run: str | Path) -> int:
    """Step of a run's newest finished checkpoint. Raises FileNotFoundError when there is none."""
    directory = Path(run).absolute() / "checkpoints"
    steps = [int(path.name) for path in directory.glob("*") if path.name.isdigit()] if directory.is_dir() else []
    if not steps:
        raise FileNotFoundError(f"{str(run)!r} holds no finished checkpoint; give a run directory that was trained")
    return max(steps)


def named(tree) -> dict:
    """The leaves of any pytree in a flat dict, named by their path."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}


def renamed(tree, leaves: dict):
    """`tree` with its leaves taken from a dict that `named` made."""
    paths, structure = jax.tree_util.tree_flatten_with_path(tree)
    return structure.unflatten([leaves[jax.tree_util.keystr(path, simple=True, separator=".")] for path, _ in paths])


def first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:300]
