"""Steps that are not finite: what was wrong, the batch kept for replay, and how the run ends."""

import math

import jax
import numpy as np

from recoder_jax.doors import Ended
from recoder_jax.learning.batch import Batch
from recoder_jax.learning.checkpoint import Checkpoints, Position, named
from recoder_jax.learning.step import Measured, TrainState
from recoder_jax.rollout.lessons import Lesson
from recoder_jax.runs.directory import RunDirectory

SHOWN = 4  # charts that a sentence names


def fault_of(measured: Measured, gradient_norm: float) -> str | None:
    """What of an update is not finite, in words; None when nothing is, and the update was made."""
    loss = -float(measured.objective)
    if not math.isfinite(loss):
        return f"the loss is {loss}"
    return None if math.isfinite(gradient_norm) else f"the gradient norm is {gradient_norm}"


def keep_fault(run: RunDirectory, step: int, lesson: Lesson, batch: Batch, fault: str) -> str:
    """Keep the batch of update `step` (from 1) and its charts in the run; returns the sentence about it."""
    arrays = {name: np.asarray(array) for name, array in named(batch).items()}
    path = run.write_fault(step, arrays, {"step": step, "fault": fault, "charts": list(lesson.charts)}, jax.process_index())
    rest = len(lesson.charts) - SHOWN
    charts = ", ".join(lesson.charts[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")
    return f"step {step} is not finite: {fault}; its charts are {charts}; its batch is in {path}"


def stop_before(checkpoints: Checkpoints, state: TrainState, position: Position, untouched: bool, sentence: str) -> None:
    """End the run with the state from before the step on disk. untouched: whether `state` is that state, but for its step."""
    if untouched and position.step:
        checkpoints.save(state, position)
    checkpoints.wait()
    again = f"goes on from step {checkpoints.step}" if checkpoints.step else "starts from the beginning"
    raise Ended(f"{sentence}; the same command {again} and meets it again, with --config.objective.on_nonfinite=skip it goes on without it", 1)
