"""What the cache of a rollout takes, and whether the devices have it."""

from pathlib import Path

import jax

from recoder_jax.sampling.functions import Room, Sampler

GIB = 2**30


def cache_line(room: Room, sampler: Sampler) -> str:
    """The budget of a room in a sentence."""
    return (f"keys and values of {room.places} places and {room.seats} seats: {share(room, sampler) / GIB:.3f} GiB a device, "
            f"{room.prefix} prefix slots, {room.suffix} slots a seat")  # fmt: skip


def share(room: Room, sampler: Sampler) -> int:
    """Bytes of keys and values on one device: places lie over the batch axes, heads over the tensor axis."""
    tensor = 1 if sampler.mesh is None else sampler.mesh.shape["tensor"]
    return room.bytes(sampler.config) // (sampler.shards * tensor)


def check_memory(room: Room, sampler: Sampler) -> None:
    """Raises ValueError where the cache alone takes more than what is free on a device now."""
    device = jax.local_devices()[0] if sampler.mesh is None else sampler.mesh.local_devices[0]
    free, needed = free_memory(device), room.bytes(sampler.config) if device.platform == "cpu" else share(room, sampler)
    if free is not None and needed > free:
        raise ValueError(
            f"{cache_line(room, sampler)}, but {free / GIB:.3f} GiB are free; take fewer places (rollout.charts, judge.batch, --places), seats "
            "(rollout.seats), rows (rollout.group, --rows) or tokens of a response (rollout.response_tokens, judge.reply_tokens, --max-tokens), or more devices"
        )


def free_memory(device: jax.Device) -> int | None:
    """Bytes; of a CPU those of the machine, all its devices together. None where nobody tells."""
    if device.platform == "cpu":
        try:  # with what the page cache would give back
            return next(int(line.split()[1]) << 10 for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemAvailable:"))
        except (OSError, StopIteration):
            return None
    stats = device.memory_stats() or {}
    return stats["bytes_limit"] - stats["bytes_in_use"] if {"bytes_limit", "bytes_in_use"} <= stats.keys() else None
