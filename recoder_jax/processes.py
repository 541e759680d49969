"""What the processes of a run tell each other. In a run of one process nothing is sent.

All processes call these functions in the same order; none goes on before all have called.
"""

import json

import jax
import numpy as np
from jax.experimental import multihost_utils


PATIENCE = 60  # seconds without a sign of life after which a process counts as dead


def join(coordinator: str | None, processes: int | None, process: int | None) -> None:
    """Make this one of several processes. coordinator: 'auto' asks the cluster (TPU slices, Slurm, Kubernetes), or the address where process 0
    listens; then their count and this one's number.

    When one of them dies the others end too, at the latest after PATIENCE seconds. Raises ValueError for arguments that do not belong together.
    """
    if coordinator == "auto":
        if processes is not None or process is not None:
            raise ValueError("--coordinator=auto asks the cluster for --processes and --process; leave them out")
        return jax.distributed.initialize(heartbeat_timeout_seconds=PATIENCE)
    if not coordinator or processes is None or process is None:
        raise ValueError("one of several processes needs --coordinator, --processes and --process; give all three, or --coordinator=auto")
    if ":" not in coordinator or not 0 <= process < processes:
        raise ValueError(f"process {process} of {processes} at {coordinator!r} does not exist; give HOST:PORT and a number from 0 to {processes - 1}")
    jax.distributed.initialize(coordinator, processes, process, heartbeat_timeout_seconds=PATIENCE)


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
