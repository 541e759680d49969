"""What the processes of a run decide together. In a run of one process nothing is sent."""

import jax
import numpy as np
from jax.experimental import multihost_utils


def agreed(flag: bool) -> bool:
    """Whether `flag` holds in any process; every process gets the same answer, and none goes on before all have asked."""
    if jax.process_count() == 1:
        return bool(flag)
    return bool(np.any(multihost_utils.process_allgather(np.asarray(bool(flag)))))


def of_first(value: float) -> float:
    """The value of process 0."""
    if jax.process_count() == 1:
        return float(value)
    halves = np.array([value], np.float64).view(np.uint32)  # jax would round a float64 to float32
    return float(np.asarray(multihost_utils.broadcast_one_to_all(halves), np.uint32).view(np.float64)[0])
