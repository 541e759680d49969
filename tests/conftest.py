"""Shared pieces of the tests: a random tiny policy, its encoder, and images to look at.

What needs jax is imported in the fixture that uses it: the tests of charts/ also run where there is only matplotlib.
"""

import dataclasses
import fcntl
import gc
import os
import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from flax import nnx

    from recoder_jax.charts.sandbox import Sandbox
    from recoder_jax.dialogue.encoder import Encoder
    from recoder_jax.models.qwen2_5_vl.config import Config

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
# Most of the time of the tests goes into compiling small programs that run once; unoptimised they compile in about half of it, and without emitters
# of fusions in about half of that.
os.environ["XLA_FLAGS"] = f"--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false {os.environ.get('XLA_FLAGS', '')}".strip()
os.environ.setdefault("JAX_TRACEBACK_IN_LOCATIONS_LIMIT", "0")  # lines of source in programs, which no test reads: a twentieth of the time
# Files that take longest, the longest first, so that two workers end together.
FIRST = (
    "test_train.py", "test_hostile.py", "test_processes.py", "test_learning.py", "test_attention.py", "test_sampling.py", "test_beyond.py", "test_sharding.py",
    "test_bench_train.py", "test_bench.py", "test_sampling_sharded.py", "test_rollout.py", "test_parity.py", "test_learning_sharded.py", "test_serve_door.py",
)


def pytest_configure(config: pytest.Config) -> None:
    """What one test compiles, the others find, in other workers and in the trainings they start too. A limit of the size is what makes jax lock it.

    Imports and tracing make many small objects that stay: looking for cycles among them as often as Python does took a tenth of the time of the tests.
    """
    gc.set_threshold(10_000, 20, 50)
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        folder = tempfile.TemporaryDirectory(prefix="compilations_", ignore_cleanup_errors=True)
        config.add_cleanup(folder.cleanup)
        os.environ |= {"JAX_COMPILATION_CACHE_DIR": folder.name, "JAX_COMPILATION_CACHE_MAX_SIZE": str(4 << 30), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.2"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order = {name: place for place, name in enumerate(FIRST)}
    items.sort(key=lambda item: order.get(item.path.name, len(FIRST)))


def pytest_collection_finish() -> None:
    gc.collect()
    gc.freeze()


@dataclasses.dataclass(frozen=True)
class RandomPolicy:
    """A tiny policy with random weights, split as the doors hold it."""

    graphdef: "nnx.GraphDef"
    params: "nnx.State"
    config: "Config"
    encoder: "Encoder"


@pytest.fixture(scope="session")
def policy() -> RandomPolicy:
    from flax import nnx

    from recoder_jax.dialogue.encoder import Encoder, load_tokenizer
    from recoder_jax.dialogue.images import ImageProcessor
    from recoder_jax.models.qwen2_5_vl.config import preset
    from recoder_jax.models.qwen2_5_vl.model import create

    encoder = Encoder(load_tokenizer("tiny"), ImageProcessor(min_pixels=28 * 28, max_pixels=56 * 84))
    tiny = preset("tiny", vocab=encoder.vocab_size, image_id=encoder.image_id)
    config = dataclasses.replace(
        tiny, text=dataclasses.replace(tiny.text, layers=2), vision=dataclasses.replace(tiny.vision, depth=2, full_attention=(1,)),
        end_id=encoder.end_id, pad_id=encoder.pad_id,
    )
    graphdef, params = nnx.split(create(config, seed=0))
    return RandomPolicy(graphdef, params, config, encoder)


@pytest.fixture(scope="session")
def sandbox() -> Iterator["Sandbox"]:
    """A sandbox with the settings a user gets, for tests that need programs executed; its server takes two seconds to start."""
    from recoder_jax.charts.sandbox import Sandbox

    with Sandbox(workers=1) as opened:
        yield opened


def image_of(seed: int, height: int = 56, width: int = 56) -> np.ndarray:
    """A random image, uint8 [height, width, 3]."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


WORLD = ("--train", "24", "--validation", "1", "--test", "6", "--workers", "1")


@pytest.fixture(scope="session")
def world(tmp_path_factory) -> str:
    """A directory of small data sets, chart_world and its corrections, which all workers share."""
    from recoder_jax import prepare

    base = tmp_path_factory.getbasetemp()
    out = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "world"
    out.mkdir(exist_ok=True)
    with open(out / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (out / "whole").exists():
            assert prepare.main(["chart_world", "--out", str(out), *WORLD]) == 0
            assert prepare.main(["chart_world_corrections", "--out", str(out), *WORLD]) == 0
            (out / "whole").touch()
    return str(out)
