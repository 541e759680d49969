"""Look at everything a training needs before machines are rented for it; a verdict a line.

    python -m recoder_jax.preflight --config=configs/sft.py:v5p-32 --workdir=runs/sft [--config.a.b=v]
    python -m recoder_jax.preflight

Without a config it looks at the machine alone, and says what is missing and how to get it. Exit code 0: nothing fails; 1: something does;
2: bad input, such as a config that cannot be read.
"""

import argparse
import dataclasses
import importlib.metadata
import importlib.util
import os
import shutil
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import jax
from ml_collections import ConfigDict
from packaging.requirements import Requirement

from recoder_jax import factory, learner
from recoder_jax.charts.sandbox import Sandbox
from recoder_jax.configuration import defaults, load, one_line
from recoder_jax.data.sources import open_charts, open_examples
from recoder_jax.doors import door, sentence
from recoder_jax.languages import language
from recoder_jax.learning.checkpoint import run_of
from recoder_jax.learning.step import initial_state, place
from recoder_jax.planning import steps
from recoder_jax.planning.machines import GIB, chip_of
from recoder_jax.planning.stand_ins import trees_of
from recoder_jax.planning.verdict import fits, peak
from recoder_jax.rewards.judge_options import addresses
from recoder_jax.runs.mirror import open_store, probe

OPTIONAL = {  # module -> (extra that brings it, what is not there without it)
    "aiohttp": ("serve", "serve"), "seaborn": ("charts", "programs that import seaborn"), "pandas": ("charts", "programs that import pandas"),
    "pyarrow": ("parquet", "prepare mm_recoder"), "tensorboard": ("tensorboard", "log.tensorboard"),
    "wandb": ("wandb", "log.wandb"), "libtpu": ("tpu", "TPUs, and plan --topology"), "jax_cuda13_plugin": ("cuda", "NVIDIA GPUs"),
    "gcsfs": ("gcs", "mirror to gs://"), "s3fs": ("s3", "mirror to s3://"),
}
NODES = {"/dev/nvidia0": "cuda", "/dev/accel0": "tpu", "/dev/vfio/0": "tpu"}  # device files -> the extra that lets jax use them
SECONDS = 5  # deadline of a judge's sign of life
PROGRAM = "import matplotlib.pyplot as plt\nplt.plot([1, 2])\n"


@dataclasses.dataclass(frozen=True)
class Verdict:
    """A line. good: None for what is worth knowing and stops nothing."""

    name: str
    good: bool | None
    said: str

    def line(self) -> str:
        return f"{ {True: 'ok', False: 'FAIL', None: 'note'}[self.good]:<5}{self.name:<10}{self.said}"


def looked(name: str, look: Callable[[], str]) -> Verdict:
    """What `look` says, or what a user is told of its error. Raises an error that no input or setting mends."""
    try:
        return Verdict(name, True, look())
    except Exception as error:
        if (said := sentence(error)) is None:
            raise
        return Verdict(name, False, said)


def verdicts(config: ConfigDict | None, workdir: str) -> Iterator[Verdict]:
    """Of the machine, then of the config on it; what takes long comes last."""
    yield looked("versions", versions)
    if config is None:
        yield Verdict("extras", None, missing_extras())
    yield looked("devices", devices)
    if config is None or config.kind == "rl":
        yield looked("sandbox", lambda: sandbox(config or defaults()))
    if config is None:
        yield looked("disk", lambda: disk(workdir, 0))
        return
    yield looked("data", lambda: data(config))
    if config.init:
        yield looked("init", lambda: init(config))
    if config.judge.base_url and (config.reward.beta or config.reward.ramp_beta):
        for address in addresses(config.judge.base_url):
            yield looked("judge", lambda address=address: judge(address, config.judge.key_variable))
    if config.mirror:
        yield looked("mirror", lambda: mirror(config.mirror))
    mesh = looked("mesh", lambda: mesh_and_rows(config))
    yield mesh
    if not mesh.good:
        return
    plan: list[steps.Planned] = []
    policy = looked("policy", lambda: planned(config, plan))
    yield policy
    if not policy.good:
        return
    held = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(plan[0].learner.abstract))
    yield looked("disk", lambda: disk(workdir, held * (config.checkpoint.keep + 1)))
    yield looked("step", lambda: tiny_step(config))
    yield looked("memory", lambda: memory(plan[0]))


def versions() -> str:
    """Raises ValueError for packages that are missing or of another version than this one asks for."""
    try:
        wanted = [Requirement(one) for one in importlib.metadata.requires("recoder_jax") or ()]
    except importlib.metadata.PackageNotFoundError:
        raise ValueError("recoder_jax is not installed; pip install -e .") from None
    wrong, found = [], {}
    for one in wanted:
        if one.marker and not one.marker.evaluate({"extra": ""}):
            continue
        try:
            found[one.name] = importlib.metadata.version(one.name)
        except importlib.metadata.PackageNotFoundError:
            wrong.append(f"{one.name} is missing")
            continue
        if not one.specifier.contains(found[one.name], prereleases=True):
            wrong.append(f"{one.name} is {found[one.name]}, not {one.specifier}")
    if wrong:
        raise ValueError(f"{', '.join(wrong)}; pip install -e .")
    return f"python {'.'.join(map(str, sys.version_info[:3]))}, jax {found['jax']}, flax {found['flax']}, and {len(found) - 2} more as setup.py asks"


def missing_extras() -> str:
    """What is not installed, and what it is for."""
    lacking = [f"{module} ({use}): pip install -e .[{extra}]" for module, (extra, use) in OPTIONAL.items() if not importlib.util.find_spec(module)]
    for name in language.names():
        try:
            language.find(name).check_installed()
        except ValueError as error:
            lacking.append(str(error))
    return "; ".join(lacking) or "all are installed"


def devices() -> str:
    """Raises RuntimeError where jax finds none, ValueError where it passes over an accelerator that is there."""
    found = jax.devices()
    check_used(found[0].platform, [node for node in NODES if os.path.exists(node)], os.environ.get("JAX_PLATFORMS", ""))
    return f"{len(found)} x {found[0].device_kind}, {jax.process_count()} process, {len(os.sched_getaffinity(0))} cores for programs"


def check_used(platform: str, nodes: Sequence[str], told: str) -> None:
    """platform: of jax's devices. nodes: device files that are there. told: JAX_PLATFORMS. Raises ValueError with the remedy."""
    if platform == "cpu" and nodes and "cpu" in told:
        raise ValueError(f"{nodes[0]} is there but JAX_PLATFORMS={told} has jax use the processor; unset it")
    if platform == "cpu" and nodes:
        raise ValueError(f"{nodes[0]} is there but jax finds the processor alone; pip install -e .[{NODES[nodes[0]]}]")


def sandbox(config: ConfigDict) -> str:
    """Draws a figure. Raises ValueError where none comes back, and what the sandbox raises where it refuses this host."""
    with factory.sandbox_of(config) as room:
        return drawn(room)


def drawn(room: Sandbox) -> str:
    execution = room.execute(PROGRAM)
    if execution.render is None:
        raise ValueError(f"a program that draws a line left no render ({execution.status}); {room.summary()}")
    return room.summary()


def data(config: ConfigDict) -> str:
    """Opens what a training reads, and the first item of it."""
    source, said = config.data, []
    for entry in (f"{source.name}:{source.split}", *filter(None, source.mixed_with.split(","))):
        name, split = entry.split(":", 1)
        found = open_charts(source.dir, name, split, source.keep) if config.kind == "rl" else open_examples(source.dir, name, split, source.trained_turns)
        found[0]
        said.append(f"{len(found)} of {name}, split {split}")
    return f"{', '.join(said)}, in {source.dir}"


def init(config: ConfigDict) -> str:
    """Raises FileNotFoundError where there is neither a policy nor a run with a checkpoint."""
    if factory.is_foreign(config.init):
        return f"{config.init} holds a policy"
    run = run_of(config.init)
    if not any(Path(run, "checkpoints").glob("[0-9]*")):
        raise FileNotFoundError(f"init {config.init!r} holds neither a policy nor a checkpoint; train the stage before, or `convert import` a policy")
    return f"{config.init} holds checkpoints"


def judge(address: str, variable: str) -> str:
    """Asks a server for its models. Raises ValueError where it does not answer; the key is never shown."""
    request = urllib.request.Request(f"{address.rstrip('/')}/models")
    if key := os.environ.get(variable, ""):
        request.add_header("Authorization", f"Bearer {key}")
    try:
        with urllib.request.urlopen(request, timeout=SECONDS):
            return f"{address} answers"
    except urllib.error.HTTPError as error:
        remedy = f"set {variable} to its key" if error.code in (401, 403) else "look at its log"
        raise ValueError(f"{address} answers {error.code}; {remedy}") from None
    except OSError as error:
        raise ValueError(f"{address} does not answer ({getattr(error, 'reason', error)}); start it, launch/judge.sh") from None


def mirror(address: str) -> str:
    try:
        probe(*open_store(address))
    except ValueError:
        raise
    except Exception as error:  # of any library behind fsspec
        raise ValueError(f"{address} cannot be written ({one_line(error)}); look at the address, the credentials and the store") from None
    return f"{address} can be written"


def mesh_and_rows(config: ConfigDict) -> str:
    mesh = factory.mesh_of(config)
    learner.check_rows(config, mesh)
    return " x ".join(f"{axis} {size}" for axis, size in mesh.shape.items())


def planned(config: ConfigDict, plan: list) -> str:
    """Appends what the steps are compiled from."""
    plan.append(steps.planned(config, jax.devices(), 1))
    return f"{plan[0].policy.config.parameters() / 1e6:.2f} M parameters, tokenizer {config.tokenizer}"


def memory(plan: steps.Planned) -> str:
    """Compiles the update. Raises ValueError where it does not fit."""
    chip = chip_of(jax.devices())
    step = next(steps.steps_of(plan, "train"))
    if not fits(step, chip):
        raise ValueError("the update does not fit; python -m recoder_jax.plan says which key to turn first")
    room = f"of {chip.memory / GIB:.1f}" if chip else "on a device whose memory is not known"
    return f"the update takes {peak(step) / GIB:.2f} GiB a device {room}; python -m recoder_jax.plan looks at the rollout too"


def disk(workdir: str, needed: int) -> str:
    """needed: bytes. Raises ValueError where they are not free, or nothing can be written."""
    place = Path(workdir).absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if not os.access(place, os.W_OK):
        raise ValueError(f"{place} cannot be written; choose another --workdir")
    if free < needed:
        raise ValueError(f"{place} has {free / GIB:.1f} GiB free and the checkpoints take {needed / GIB:.1f}; free some, or lower checkpoint.keep")
    return f"{free / GIB:.1f} GiB free at {place}" + (f", checkpoints take {needed / GIB:.2f}" if needed else "")


def tiny_step(config: ConfigDict) -> str:
    """An update of the tiny policy on the config's mesh, over all its devices."""
    small, begun = defaults(), time.perf_counter()
    small.mesh.update(config.mesh)
    mesh = factory.mesh_of(small)
    small.batch.size = small.batch.rows = mesh.shape["data"] * mesh.shape["fsdp"]
    with jax.set_mesh(mesh):
        policy = factory.policy_of(small)
        own = learner.learner_of(small, policy, mesh)
        state = initial_state(factory.initial_params(small, policy, mesh), own.optimizer, own.placed)
        batch = learner.packed(trees_of(small, policy.encoder, 1), small, mesh, policy.config.image_id)
        _, measured, norm, _ = own.step(state, place(batch.local, mesh))
        if not float(norm) > 0:
            raise ValueError(f"an update of the tiny policy has a gradient of norm {float(norm)}; the devices or their links are not sound")
    return f"an update of the tiny policy on all devices, gradient {float(norm):.3f}, {time.perf_counter() - begun:.0f} s with compilation"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m recoder_jax.preflight", description=__doc__, formatter_class=argparse.RawTextHelpFormatter, allow_abbrev=False)
    parser.add_argument("--config", metavar="FILE", help="config file; --config.a.b=value overrides a key")
    parser.add_argument("--workdir", default=".", metavar="RUN", help="where the run will lie (default: here)")
    options, overrides = parser.parse_known_args(arguments)
    failed = []

    def run():
        if overrides and not options.config:
            raise ValueError(f"{overrides[0]!r} belongs to a config; give --config=FILE")
        for verdict in verdicts(load(options.config, overrides) if options.config else None, options.workdir):
            print(verdict.line(), flush=True)
            failed.extend([verdict] if verdict.good is False else [])

    return door("preflight", run) or int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
