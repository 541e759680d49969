"""What the processes of a run tell each other. In a run of one process nothing is sent.

All processes call these functions in the same order; none goes on before all have called.
"""

import json

import jax
import numpy as np
from jax.experimental import multihost_utils


def agreed(flag: bool) -> bool:
    """Whether `flag` holds in any process; every process gets the same answer."""
    return any(gathered(bool(flag)))


def of_first(value: float) -> float:
    """The value of process 0."""
    return gathered(float(value))[0]


def gathered(value) -> list:
    """What JSON can carry, from every process, in their order."""
    if jax.process_count() == 1:
        return [value]
    text = np.frombuffer(json.dumps(value).encode(), np.uint8)
    sizes = multihost_utils.process_allgather(np.array([len(text)], np.int32)).ravel()
    padded = np.zeros(1 << int(sizes.max() - 1).bit_length(), np.uint8)  # powers of two, so that few lengths are compiled
    padded[: len(text)] = text
    rows = multihost_utils.process_allgather(padded).reshape(len(sizes), -1)
    return [json.loads(bytes(row[:size])) for row, size in zip(rows, sizes, strict=True)]
