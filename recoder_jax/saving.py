"""When a run saves a checkpoint, and how good it says that checkpoint is."""

import dataclasses
import math
import statistics
import time
from collections.abc import Callable, Mapping

from ml_collections import ConfigDict

from recoder_jax.learning.checkpoint import Checkpoints, Position, Score
from recoder_jax.learning.step import TrainState
from recoder_jax.processes import agreed, of_first


class Saver:
    """Saves after every n-th update and the last, when so many minutes have passed, and when it is told to. clock: in seconds."""

    def __init__(self, config: ConfigDict, checkpoints: Checkpoints, clock: Callable[[], float] = time.monotonic):
        self._config, self._checkpoints, self._clock = config, checkpoints, clock
        self._saved, self._values = clock(), []

    def after_step(self, state: TrainState, position: Position, metrics: Mapping[str, float], told: bool) -> str | None:
        """Save if it is time. Returns a sentence where the checkpoint has no score that it should have."""
        options = self._config.checkpoint
        value = metrics.get(options.best, math.nan)
        self._values += [value] if math.isfinite(value) else []
        late = options.minutes > 0 and agreed(self._clock() - self._saved >= 60 * options.minutes)
        if not (late or told or position.step == self._config.steps or position.step % options.every == 0):
            return None
        mean = of_first(statistics.fmean(self._values)) if self._values else math.nan
        score = Score(options.best, options.best_mode, mean) if math.isfinite(mean) else None
        self._checkpoints.save(state, dataclasses.replace(position, score=score))
        self._saved, self._values = self._clock(), []
        lacking = options.best and score is None
        return f"no step since the last checkpoint had the metric {options.best}, so this checkpoint cannot be the best one" if lacking else None
