"""Time and host memory of importing a Hugging Face checkpoint onto the devices of a mesh.

The import runs in a process of its own, whose memory the kernel's counts give: allocated (anonymous) and mapped from
files, both beyond what the process had before. On CPU devices the arrays lie in the same memory; their bytes, each
buffer once, are subtracted from every sample. The bound is one safetensors shard plus one slice: the largest file, and the
largest part of a stacked weight that one device holds. The weights must fit into the memory of the devices.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from math import prod
from pathlib import Path
from time import perf_counter

from recoder_jax.bench.machine import machine
from recoder_jax.bench.memory import Peak, resident
from recoder_jax.doors import sentence

SUMMARY = "time and host memory of importing a checkpoint"
AXES = ("data", "fsdp", "tensor")
_GB = 1e9


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--checkpoint", metavar="DIR", required=True, help="directory with config.json and safetensors")
    parser.add_argument("--devices", type=int, metavar="N", help="pretend that the CPU is N devices (default: do not)")
    parser.add_argument("--data", type=int, default=1, help="size of the mesh axis that replicates weights (default: 1)")
    parser.add_argument("--fsdp", type=int, default=-1, help="size of the axis that splits weights (default: what is left)")
    parser.add_argument("--tensor", type=int, default=1, help="size of the axis that splits heads and MLP (default: 1)")


def measure(options: argparse.Namespace, progress: Callable[[str], None]) -> dict:
    """Imports in a process of its own and returns what JSON holds; ValueError for options that cannot be used."""
    if options.devices is not None and options.devices < 1:
        raise ValueError(f"--devices is {options.devices}; give at least 1")
    environment = dict(os.environ)
    if options.devices is not None:
        environment |= {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": str(options.devices)}
    mesh = {axis: getattr(options, axis) for axis in AXES}
    command = [sys.executable, "-m", __name__, json.dumps({"checkpoint": options.checkpoint, "mesh": mesh})]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr:
            progress(line.rstrip())
        printed = process.stdout.read()
    if process.returncode == -signal.SIGKILL:
        raise ValueError("the import was killed, as happens when memory is exhausted; use a machine with more of it")
    if process.returncode:
        raise RuntimeError(f"the import ended with code {process.returncode}")
    answer = json.loads(printed)
    if "error" in answer:
        raise ValueError(answer["error"])
    return answer


def main() -> int:
    """The process that imports: options as JSON in the first argument, the result or {"error": sentence} to stdout."""
    options = json.loads(sys.argv[1])
    try:
        answer = _import(Path(options["checkpoint"]), options["mesh"])
    except Exception as error:
        said = sentence(error)
        if said is None:
            raise
        answer = {"error": said}
    print(json.dumps(answer))
    return 0


def _import(checkpoint: Path, sizes: dict[str, int]) -> dict:
    import jax

    from recoder_jax import sharding
    from recoder_jax.models import huggingface

    mesh = sharding.make_mesh(**sizes)
    for device in mesh.devices.flat:  # what a device costs by itself is not of the import
        jax.block_until_ready(jax.device_put(0.0, device))
    start = perf_counter()
    with Peak() as peak:
        config, state = huggingface.import_policy(checkpoint, mesh, progress=_Progress(start), put=_counted(peak))
        jax.block_until_ready(state)
    seconds = perf_counter() - start
    arrays = jax.tree.leaves(state)
    stored = [file.stat().st_size for file in {tensor.file for tensor in huggingface.StoredTensors(checkpoint).values()}]
    largest = max(array.dtype.itemsize * prod(array.sharding.shard_shape(array.shape)) for array in arrays)
    return {
        "subject": "import", "machine": machine(("jax", "flax", "numpy", "safetensors")),
        "platform": mesh.devices.flat[0].platform, "devices": mesh.size, "mesh": dict(mesh.shape),
        "parameters": config.parameters(), "dtype": config.param_dtype, "seconds": seconds,
        "checkpoint_bytes": sum(stored), "bytes_per_second": sum(stored) / seconds,
        "array_bytes": sum(shard.data.nbytes for array in arrays for shard in array.addressable_shards),
        "largest_shard_bytes": max(stored), "largest_slice_bytes": largest,
        "allocated_bytes": peak.allocated, "mapped_bytes": peak.mapped, "overhead_bytes": peak.both, "samples": peak.samples,
        "resident_bytes": resident(("VmHWM",))[0],
        "bound_bytes": max(stored) + largest, "within_bound": peak.both <= max(stored) + largest,
    }


def _counted(peak: Peak) -> Callable:
    """`jax.device_put` that tells `peak` of every buffer it makes in host memory, from when it begins to be filled.

    jax copies a numpy array to a CPU device, or shares its memory where it is aligned; shared memory is told once.
    """
    import jax

    known = set()

    def put(value, device):
        if device.platform != "cpu":
            return jax.device_put(value, device)
        peak.hold(value.nbytes)
        array = jax.device_put(value, device)
        if array.unsafe_buffer_pointer() in known:
            peak.hold(-value.nbytes)
        known.add(array.unsafe_buffer_pointer())
        return array

    return put


class _Progress:
    """Wraps the iteration over weights; a line to stderr for each."""

    def __init__(self, start: float):
        self._start = start

    def __call__(self, pairs: list):
        for number, pair in enumerate(pairs, 1):
            yield pair
            print(f"{perf_counter() - self._start:.0f} s: weight {number} of {len(pairs)}", file=sys.stderr, flush=True)


def table(result: dict) -> str:
    """The result for people."""
    where, versions = result["machine"], result["machine"]["versions"]
    mesh = ", ".join(f"{axis}={size}" for axis, size in result["mesh"].items())
    lines = [f"{result['parameters']:,} weights in {result['dtype']} onto {result['devices']} {result['platform']} devices "
             f"({mesh}), {where['processor']}, {where['cores']} cores, load {where['load']}, jax {versions['jax']}, "
             f"safetensors {versions['safetensors']}, {where['date']} UTC", "", "| what | GB |", "|---|---|"]
    rows = (("files", "checkpoint_bytes"), ("arrays, replicas too", "array_bytes"),
            ("peak allocated on the host", "allocated_bytes"), ("peak mapped from files", "mapped_bytes"),
            ("peak of both at one time", "overhead_bytes"),
            ("largest shard", "largest_shard_bytes"), ("largest slice", "largest_slice_bytes"),
            ("bound: shard + slice", "bound_bytes"),
            ("peak of the whole process, arrays, jax and all", "resident_bytes"))
    lines += [f"| {name} | {result[key] / _GB:.3f} |" for name, key in rows]
    lines += ["", f"{result['seconds']:.1f} s, {result['bytes_per_second'] / _GB:.3f} GB/s; "
                  f"{'within' if result['within_bound'] else 'ABOVE'} the bound"]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
