"""Chips, and the devices of a named TPU topology, described by libtpu on a machine that has none.

A peak is what the maker states; a step never exceeds it. Sources: TPU, cloud.google.com/tpu/docs (v5e, v5p, v6e pages, 'key chip
specifications') and, for links, jax-ml.github.io/scaling-book/tpus (45 GB/s a v5e link, 90 GB/s a v5p or v6e link, one way; 4, 6 and
4 links a chip). Memory of a TPU is what its compiler says is available. GPU: NVIDIA data sheets of H100 SXM and H200 SXM, dense
bfloat16, NVLink one way.
"""

import dataclasses
import importlib.util
import os

GIB = 2**30


@dataclasses.dataclass(frozen=True)
class Chip:
    """flops: bfloat16 a second. memory: bytes a program can have. bandwidth: of the memory, bytes/s. links: bytes/s that a chip can send
    to the others."""

    name: str
    flops: float
    memory: int
    bandwidth: float
    links: float


CHIPS = {
    "TPU v5 lite": Chip("v5e", 197e12, int(15.75 * GIB), 819e9, 4 * 45e9),
    "TPU v5": Chip("v5p", 459e12, int(95.74 * GIB), 2765e9, 6 * 90e9),
    "TPU v6 lite": Chip("v6e", 918e12, int(31.25 * GIB), 1638e9, 4 * 90e9),
    "NVIDIA H100 80GB HBM3": Chip("H100", 989e12, int(79.1 * GIB), 3350e9, 450e9),
    "NVIDIA H200": Chip("H200", 989e12, int(139.8 * GIB), 4800e9, 450e9),
}
ENVIRONMENT = {  # of a process that compiles for TPUs it does not have; libtpu reads it when it is loaded
    "TPU_SKIP_MDS_QUERY": "1", "TPU_WORKER_HOSTNAMES": "localhost", "TPU_ACCELERATOR_TYPE": "v5p-8", "JAX_PLATFORMS": "cpu",
    "JAX_ENABLE_COMPILATION_CACHE": "0", "ALLOW_MULTIPLE_LIBTPU_LOAD": "1", "TF_CPP_MIN_LOG_LEVEL": "3", "TPU_STDERR_LOG_LEVEL": "3", "TPU_MIN_LOG_LEVEL": "3",
}


def prepare_environment(topology: str | None) -> None:
    """Set what must be set before jax is imported. Local devices are planned for with the environment as it is."""
    for name, value in ENVIRONMENT.items() if topology else ():
        os.environ.setdefault(name, value)


def devices_of(topology: str | None) -> list:
    """The devices of a topology such as v5p:2x2x4, or the local ones.

    Raises ValueError for a name that libtpu does not know, or where libtpu is not installed.
    """
    import jax
    from jax.experimental import topologies

    if topology is None:
        return jax.devices()
    if importlib.util.find_spec("libtpu") is None:
        raise ValueError("libtpu is not installed, and compiles for a --topology; pip install -e '.[tpu]'")
    try:
        return list(topologies.get_topology_desc(platform="tpu", topology_name=topology).devices)
    except Exception as error:  # libtpu raises errors of several kinds
        reason = " ".join(str(error).split()).removeprefix("INVALID_ARGUMENT: ")
        raise ValueError(f"--topology is {topology!r}; give a name such as v5p:2x2x4, v5e:8x8 or v6e:4x4 ({reason})") from None


def chip_of(devices: list) -> Chip | None:
    """The table's row of these devices; None for a kind that it does not hold, such as a CPU."""
    return CHIPS.get(devices[0].device_kind)
