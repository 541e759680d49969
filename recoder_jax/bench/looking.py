"""Views a second of a model that looks at renders, with random weights: time depends on sizes alone."""

from statistics import median
from time import perf_counter

import jax
import numpy as np
from flax import nnx

from recoder_jax.models import observers
from recoder_jax.models.observers import Observer


def measure_look(model: str, dtype: str, side: int, views: int, batch: int, rounds: int) -> dict:
    """Seconds of a look at `views` views on the first device, and of the first one, which compiles. ValueError for options that cannot be used."""
    for name, value in (("look-side", side), ("look-views", views), ("look-batch", batch)):
        if value < 1:
            raise ValueError(f"--{name} is {value}; give at least 1")
    if model != "resnet18" and side % 14:
        raise ValueError(f"--look-side is {side}; give a multiple of 14, the patch of DINOv2")
    config, device = observers.config_of(model, dtype), jax.local_devices()[0]
    state = nnx.state(observers.create(config, 0))
    observer = Observer(config, state, batch, [device])
    images = np.random.default_rng(0).integers(0, 256, (views, side, side, 3), np.uint8)
    seconds = []
    for _ in range(rounds + 1):
        began = perf_counter()
        observer(images)
        seconds.append(perf_counter() - began)
    each = median(seconds[1:]) / views
    return {
        "model": model, "dtype": dtype, "side": side, "views": views, "batch": batch, "device": device.device_kind, "weights": "random",
        "weight_bytes": sum(leaf.nbytes for leaf in jax.tree.leaves(state)), "first_seconds": seconds[0],
        "seconds_per_view": each, "views_per_second": 1 / each, "flops_per_second": observers.flops(config, side) / each,
    }


def look_line(look: dict) -> str:
    return (f"look: {look['model']} in {look['dtype']}, random weights, {look['weight_bytes'] / 2**20:,.0f} MiB, on {look['device']}: {look['views']} views of "
            f"{look['side']} x {look['side']}, {1e3 * look['seconds_per_view']:.1f} ms a view, {look['views_per_second']:.2f} views/s, "
            f"{look['flops_per_second'] / 1e9:,.0f} GFLOP/s; the first call took {look['first_seconds']:.1f} s")
