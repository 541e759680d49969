"""Checkpoints of a run: parameters, optimizer and position, written by Orbax so that a kill at any moment loses no earlier one.

    RUN/checkpoints/<step>/params       parameters alone, for a warm start, evaluation, `correct` and export
    RUN/checkpoints/<step>/optimizer    optimizer state
    RUN/checkpoints/<step>/position     {"step": updates done, "seed": ..., "charts": consumed, "score": of the steps before it}
    RUN/checkpoints/<step>/sums.json    sizes and sums of these files (sums.py)
    RUN/checkpoints/damaged_<step>      a checkpoint that was found damaged, moved aside

Keys of sampling and of the rollout are functions of (seed, step, chart, ...), and the data order is one of the seed. So the position is all
there is to go on from: no state of a generator or of an iterator is kept beside it.
"""

import dataclasses
import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as policies

from recoder_jax.learning.step import TrainState
from recoder_jax.learning.sums import damage, write_sums
from recoder_jax.processes import agreed

ITEMS = ("params", "optimizer", "position")


@dataclasses.dataclass(frozen=True)
class Score:
    """How good a checkpoint is: the mean of a metric over the steps since the checkpoint before. mode: 'max' or 'min', what is better."""

    metric: str
    mode: str
    mean: float

    @property
    def rank(self) -> float:
        """Higher is better."""
        return self.mean if self.mode == "max" else -self.mean


@dataclasses.dataclass(frozen=True)
class Position:
    """Where a run is. step: updates done. seed: of the run. charts: charts (RL) or dialogues (SFT) of the data order consumed, over all
    processes; None in checkpoints written before it was kept. score: of this checkpoint, None without one."""

    step: int
    seed: int
    charts: int | None
    score: Score | None = None

    @classmethod
    def of(cls, saved: Mapping) -> "Position":
        score = saved.get("score")
        return cls(saved["step"], saved["seed"], saved.get("charts"), Score(**score) if score else None)


@dataclasses.dataclass(frozen=True)
class Retention:
    """Which checkpoints stay: the `keep` newest, those of every `every`-th step (0: of none), and, where checkpoints have scores, the best."""

    keep: int = 2
    every: int = 0


class Checkpoints:
    """The checkpoints of one run directory. Opening it moves damaged ones that are newer than the newest sound one aside, and says so on
    stderr. A context manager: leaving it waits for the last write.

    Raises ValueError when there are checkpoints and none is sound.
    """

    def __init__(self, directory: str | Path, retention: Retention = Retention()):
        be_quiet()
        self._directory = Path(directory).absolute()
        self.step = self._newest_sound()
        self._scores = scores_in(self._directory)
        kept = [policies.LatestN(retention.keep), BestScore(self._scores)]
        if retention.every:
            kept.append(policies.EveryNSteps(retention.every))
        options = ocp.CheckpointManagerOptions(
            create=True, cleanup_tmp_directories=True, lightweight_initialize=True, enable_async_checkpointing=True,
            preservation_policy=policies.AnyPreservationPolicy(kept),
            async_options=ocp.AsyncOptions(post_finalization_callback=self._before_commit),
        )
        self._manager = ocp.CheckpointManager(self._directory, item_names=ITEMS, options=options)

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_) -> None:
        self._manager.close()

    def save(self, state: TrainState, position: Position) -> None:
        """Write a checkpoint in the background, unless there is one of this step or a later one. All processes call it."""
        if position.step <= self.step:
            return
        self.wait()
        self.step = position.step
        if position.score is not None:
            self._scores[position.step] = position.score
        self._manager.save(
            position.step,
            args=ocp.args.Composite(
                params=ocp.args.StandardSave(named(state.params)),
                optimizer=ocp.args.StandardSave(named(state.optimizer)),
                position=ocp.args.JsonSave(dataclasses.asdict(position)),
            ),
        )

    def wait(self) -> None:
        """Until the last checkpoint is on disk."""
        self._manager.wait_until_finished()

    def restore(self, state: TrainState, seed: int, batch_size: int) -> tuple[TrainState, Position]:
        """The newest checkpoint in the shapes and shardings of `state` (abstract arrays).

        batch_size: charts an update consumed in checkpoints that do not count them. Raises ValueError when the run was started with another
        seed or another policy.
        """
        position = read_position(self._directory / str(self.step))
        if position.seed != seed:
            raise ValueError(f"the run was started with seed {position.seed}, not {seed}; keep the seed or choose a new --workdir")
        wanted = {name: named(getattr(state, name)) for name in ITEMS[:2]}
        for name, leaves in wanted.items():
            if reason := misfit(self._directory / str(self.step) / name, leaves):
                raise ValueError(f"the checkpoint of step {self.step} does not fit this config: {reason}; choose a new --workdir")
        args = {name: ocp.args.StandardRestore(leaves) for name, leaves in wanted.items()}
        saved = self._manager.restore(self.step, args=ocp.args.Composite(**args))
        restored = TrainState(
            params=renamed(state.params, saved.params),
            optimizer=renamed(state.optimizer, saved.optimizer),
            step=jax.device_put(jnp.int32(self.step), state.step.sharding),
        )
        charts = self.step * batch_size if position.charts is None else position.charts
        return restored, dataclasses.replace(position, charts=charts)

    def _newest_sound(self) -> int:
        """Step of the newest sound checkpoint, 0 where none was ever written. Newer ones are moved aside."""
        reasons = {}
        for step in sorted(finished(self._directory), reverse=True):
            reason = found_damage(self._directory / str(step), ITEMS)
            if reason is None:
                for broken, why in reasons.items():
                    say_damaged(broken, self._directory.parent, why, step)
                    move_aside(self._directory, broken)
                agreed(False)  # no process goes on before they are moved
                return step
            reasons[step] = reason
        if reasons or any(self._directory.glob("damaged_*")):
            told = "; ".join(f"step {step}: {reason}" for step, reason in reasons.items()) or "they were moved aside as damaged_*"
            raise ValueError(f"no checkpoint of {str(self._directory.parent)!r} is sound ({told}); put a copy in its place or choose a new --workdir")
        return 0

    def _before_commit(self) -> None:
        """In process 0, when everything of a checkpoint is written and it does not yet count as finished."""
        unfinished = list(self._directory.glob(f"{self.step}.orbax-checkpoint-tmp*"))
        write_sums(unfinished[0] if unfinished else self._directory / str(self.step))


class BestScore(policies.PreservationPolicy):
    """Preserves the checkpoint with the best score. scores: by step; read whenever it is asked."""

    def __init__(self, scores: Mapping[int, Score]):
        self._scores = scores

    def should_preserve(self, checkpoints: Sequence[policies.PolicyCheckpointInfo], *, context) -> list[bool]:
        there = [info.step for info in checkpoints]
        best = best_of({step: score for step, score in self._scores.items() if step in there})
        return [step == best for step in there]


def best_of(scores: Mapping[int, Score]) -> int | None:
    """The step of the best score, of equals the latest. Only scores of the newest one's metric and mode are compared."""
    if not scores:
        return None
    newest = scores[max(scores)]
    alike = [step for step, score in scores.items() if (score.metric, score.mode) == (newest.metric, newest.mode)]
    return max(alike, key=lambda step: (scores[step].rank, step))


def restore_params(source: str | Path, params):
    """Parameters of a checkpoint in the shapes and shardings of `params` (arrays or abstract arrays).

    source: RUN, its newest sound checkpoint; RUN@STEP; or RUN@best. Raises FileNotFoundError when there is no such checkpoint, ValueError
    when it holds another policy or is damaged.
    """
    be_quiet()
    step = step_of(source)
    directory = run_of(source).absolute() / "checkpoints"
    if reason := misfit(directory / str(step) / "params", named(params)):
        raise ValueError(f"the checkpoint in {str(directory)!r} is of another policy: {reason}")
    options = ocp.CheckpointManagerOptions(read_only=True, lightweight_initialize=True)
    with ocp.CheckpointManager(directory, item_names=ITEMS, options=options) as manager:
        args = ocp.args.Composite(params=ocp.args.StandardRestore(named(params)))
        return renamed(params, manager.restore(step, args=args).params)


def run_of(source: str | Path) -> Path:
    """The run directory of RUN, RUN@STEP or RUN@best."""
    return located(source)[0]


def step_of(source: str | Path) -> int:
    """The step that RUN, RUN@STEP or RUN@best stands for. A damaged newest checkpoint is named on stderr and the one before it taken.

    Raises FileNotFoundError when the run holds no such checkpoint, ValueError when it is damaged.
    """
    run, which = located(source)
    directory = run.absolute() / "checkpoints"
    steps = sorted(finished(directory), reverse=True)
    if not steps:
        raise FileNotFoundError(f"{str(run)!r} holds no finished checkpoint; give a run directory that was trained")
    if which == "best":
        best = best_of(scores_in(directory))
        if best is None:
            raise FileNotFoundError(f"no checkpoint of {str(run)!r} has a score; train with --config.checkpoint.best=METRIC, or give {run}@STEP")
        steps = [best]
    elif which and int(which) not in steps:
        raise FileNotFoundError(f"{str(run)!r} holds no checkpoint {which}; it has {', '.join(map(str, sorted(steps)))}")
    elif which:
        steps = [int(which)]
    reasons = {}
    for step in steps:
        reason = found_damage(directory / str(step), ITEMS[:1])
        if reason is None:
            for broken, why in reasons.items():
                say_damaged(broken, run, why, step)
            return step
        reasons[step] = reason
    told = "; ".join(f"step {step}: {reason}" for step, reason in reasons.items())
    raise ValueError(f"the checkpoint of {str(source)!r} is damaged ({told}); give another one")


def be_quiet() -> None:
    """Orbax warns through absl of what is meant so."""
    logging.getLogger("absl").setLevel(logging.ERROR)


def located(source: str | Path) -> tuple[Path, str]:
    """Run directory and what stands behind its '@': '' for nothing, 'best' or a step. Raises ValueError for anything else."""
    run, _, which = str(source).rpartition("@")
    if not run or Path(source).exists():
        return Path(source), ""
    if which != "best" and not (which.isascii() and which.isdigit()):
        raise ValueError(f"{str(source)!r} asks for checkpoint {which!r}; write {run}@best, {run}@STEP, or {run} for the newest")
    return Path(run), which


def finished(directory: Path) -> list[int]:
    """Steps of the checkpoints whose write has ended."""
    return [int(path.name) for path in directory.glob("*") if path.name.isdigit()] if directory.is_dir() else []


def read_position(checkpoint: Path) -> Position:
    """The position in a checkpoint's directory. Raises ValueError when it is damaged."""
    try:
        return Position.of(ocp.JsonCheckpointHandler().restore(checkpoint / "position"))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"the position in {str(checkpoint)!r} is damaged ({first_line(error)}); move this checkpoint away") from None


def scores_in(directory: Path) -> dict[int, Score]:
    """Scores by step; a checkpoint with an unreadable position has none."""
    scores = {}
    for step in finished(directory):
        try:
            score = read_position(directory / str(step)).score
        except ValueError:
            continue
        scores |= {} if score is None else {step: score}
    return scores


def found_damage(checkpoint: Path, items: Sequence[str]) -> str | None:
    """What is wrong with a checkpoint; each process reads its share of the files and all get the same answer but for the words."""
    reason = damage(checkpoint, items, (jax.process_index(), jax.process_count()))
    return (reason or "another process says why") if agreed(reason is not None) else None


def say_damaged(step: int, run: Path, reason: str, used: int) -> None:
    print(f"checkpoint {step} of {run} is damaged ({reason}); step {used} is used instead", file=sys.stderr, flush=True)


def move_aside(directory: Path, step: int) -> None:
    """Rename a checkpoint to damaged_<step>, so that the run can write the step again."""
    if jax.process_index():
        return
    aside = directory / f"damaged_{step}"
    while aside.exists():
        aside = aside.with_name(f"{aside.name}_again")
    (directory / str(step)).rename(aside)


def misfit(item: Path, wanted: dict) -> str | None:
    """The first array that a part of a checkpoint lacks, has beside those wanted, or has in another shape, in words."""
    with ocp.StandardCheckpointer() as checkpointer:
        tree = checkpointer.metadata(item).item_metadata.tree
    found = {name: tuple(leaf.shape) for name, leaf in tree.items()}
    for name in [*wanted, *found]:
        shapes = [found.get(name), tuple(wanted[name].shape) if name in wanted else None]
        if shapes[0] != shapes[1]:
            there, asked = ("nothing" if shape is None else list(shape) for shape in shapes)
            return f"{name} is {there} in the checkpoint and {asked} in the config"
    return None


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
