"""Seconds, tokens a second and model FLOP utilisation of an update, alone, beside the same update in torch, or beside the naive one.

    python -m recoder_jax.bench train --config=configs/tiny/sft.py [--config.a.b=v] [--against=torch|naive] [--profile=DIR] [--json]

The step is the one that `train` runs, with random weights, on a batch whose images and responses reach the config's caps: SFT
dialogues that fill the rows, or RL groups. Packing the batch is outside of the step, and timed once. FLOPs follow the rule of
learning/flops.py; utilisation is over the maker's peak, and there is none where the peak is not in the table of
planning/machines.py, as for a CPU.

With --against the two updates take turns (a step of one, a step of the other), so that what else the machine does slows both. Torch
runs the faster of two attentions and of two AdamWs. Naive is our own step with a copy of the prompt for every response. The first losses must
agree.
"""

import argparse
import contextlib
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

from recoder_jax.bench.machine import Elsewhere, machine

SUMMARY = "seconds, tokens a second and FLOP utilisation of an update"
PACKAGES = ("jax", "jaxlib", "flax", "optax")
ENVIRONMENT = ("JAX_PLATFORMS", "XLA_FLAGS", "GLIBC_TUNABLES", "LD_PRELOAD", "OMP_NUM_THREADS", "MKL_NUM_THREADS")  # what changes times
TOLERANCE = 1e-4  # relative, of the losses of the first step


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", required=True, metavar="FILE", help="config file; --config.a.b=value overrides a key")
    parser.add_argument("--steps", type=int, default=10, help="timed steps (default: 10)")
    parser.add_argument("--warmup", type=int, default=2, help="steps before them (default: 2)")
    parser.add_argument("--turns", type=int, default=1, help="SFT: turns of a dialogue, an image each (default: 1)")
    parser.add_argument("--image", metavar="HEIGHTxWIDTH", help="pixels of every image (default: 4 : 3 at image.max_pixels)")
    parser.add_argument("--against", choices=("torch", "naive"), help="time another way of the same update too: SFT in torch on the same cores, or RL without shared prefixes")
    parser.add_argument("--profile", metavar="DIR", help="write a trace of the timed steps for TensorBoard or Perfetto")


def measure(options: argparse.Namespace, progress: Callable[[str], None]) -> dict:
    """Runs the steps and returns what JSON holds; ValueError for options that cannot be used."""
    for name in ("steps", "warmup", "turns"):
        if getattr(options, name) < 1:
            raise ValueError(f"--{name} is {getattr(options, name)}; give at least 1")
    import jax  # here, as the subjects that need no jax start without it

    from recoder_jax.bench import naive_update, torch_update
    from recoder_jax.bench.update import Update
    from recoder_jax.configuration import load

    config, notes = load(options.config, options.overrides), []
    if config.tokenizer != "tiny" and not Path(config.tokenizer, "tokenizer.json").is_file():
        notes.append(f"there is no tokenizer in {config.tokenizer!r}; that of the tiny policy gives the length of the prompt")
        config.tokenizer = "tiny"
    if options.against == "torch":
        torch_update.check(config, jax.default_backend())
    if options.against == "naive":
        naive_update.check(config)
    where = machine(PACKAGES + (("torch", "transformers") if options.against == "torch" else ()))
    with contextlib.ExitStack() as stack:
        update = stack.enter_context(Update(config, options.turns, image_size(options.image)))
        progress(f"compiled in {update.compile_seconds:.1f} s")
        first = [update.step() for _ in range(options.warmup)][0]
        memory, rival, theirs = update.peak_memory(), None, []
        if options.against:
            rival = torch_update.fastest(update, progress) if options.against == "torch" else naive_update.rival_of(update, stack, progress)
            theirs = [rival.update.step() for _ in range(options.warmup)]
            check_equal(first, theirs[0], options.against)
        elsewhere = Elsewhere()
        with jax.profiler.trace(options.profile) if options.profile else contextlib.nullcontext():
            ours, others = race(update, rival, options.steps, progress)
        busy = elsewhere.share()
        result = report(update, ours)
    result |= {"config": options.config, "warmup": options.warmup, "steps": options.steps, "notes": notes, "machine": where, "memory": memory,
               "elsewhere": busy}
    result["losses"] = {"first": first.loss, "last": ours[-1].loss, "first_gradient_norm": first.gradient_norm}
    result["against"] = rival and against(rival, theirs, others, result["seconds"]["median"])
    return result


def image_size(text: str | None) -> tuple[int, int] | None:
    """(height, width) of '224x224'; ValueError for another form."""
    if text is None:
        return None
    height, cross, width = text.partition("x")
    if not (cross and height.isdecimal() and width.isdecimal() and int(height) and int(width)):
        raise ValueError(f"--image is {text!r}; write height and width in pixels, such as 224x224")
    return int(height), int(width)


def check_equal(ours, theirs, name: str) -> None:
    """Raises ValueError unless the first steps have the same loss and, in one framework, gradient: times of different updates are not
    compared."""
    same = math.isclose(ours.loss, theirs.loss, rel_tol=TOLERANCE)
    if not same or (name == "naive" and not math.isclose(ours.gradient_norm, theirs.gradient_norm, rel_tol=30 * TOLERANCE)):
        raise ValueError(
            f"the first loss is {ours.loss:.6f} and {theirs.loss:.6f} ({name}), the gradient norm {ours.gradient_norm:.5f} and "
            f"{theirs.gradient_norm:.5f}, so these are not the same update"
        )


def race(update, rival, steps: int, progress: Callable[[str], None]) -> tuple[list, list]:
    """Timed steps of both, in turns; none of a rival where it is None."""
    ours, others = [], []
    for number in range(1, steps + 1):
        ours.append(update.step())
        if rival is not None:
            others.append(rival.update.step())
        said = f", {rival.name} {others[-1].seconds:.3f} s" if others else ""
        progress(f"step {number} of {steps}: {ours[-1].seconds:.3f} s{said}")
    return ours, others


def report(update, steps: Sequence) -> dict:
    """What one framework's steps come to."""
    from recoder_jax.bench.update import utilisation
    from recoder_jax.planning.machines import chip_of

    devices = update.mesh.devices.flatten().tolist()
    seconds, work, model = spread(steps), update.work(), update.policy.config
    chip, typical = chip_of(devices), seconds["median"]
    return {
        "subject": "train", "name": update.config.name, "kind": update.config.kind, "preset": update.config.model.preset,
        "parameters": model.parameters(), "dtype": model.dtype, "param_dtype": model.param_dtype, "remat": model.remat, "unroll": model.unroll,
        "device": devices[0].device_kind, "devices": len(devices), "mesh": dict(update.mesh.shape),
        "environment": {name: os.environ[name] for name in ENVIRONMENT if name in os.environ},
        "batch": work, "compile_seconds": update.compile_seconds, "pack_seconds": update.pack_seconds, "seconds": seconds,
        "tokens_per_s": work["tokens"] / typical, "trained_tokens_per_s": work["trained_tokens"] / typical,
        "flops_per_s": work["flops"] / typical, "peak_flops_per_s": chip and chip.flops * len(devices),
        "mfu": utilisation(work["flops"], typical, chip, len(devices)),
    }


def spread(steps: Sequence) -> dict[str, float]:
    """Median, least and most seconds of steps, and the median of the seconds they had the cores."""
    seconds = [step.seconds for step in steps]
    return {"median": median(seconds), "min": min(seconds), "max": max(seconds), "cores": median(step.core_seconds for step in steps)}


def against(rival, first: Sequence, steps: Sequence, ours: float) -> dict:
    """What the other update came to. ours: median seconds of ours. ratio: how many times as long a step of the other takes."""
    seconds = spread(steps)
    return {
        "name": rival.name, "way": rival.way, "trials": rival.trials, "tokens": rival.tokens, "flops": rival.flops, "seconds": seconds,
        "losses": {"first": first[0].loss, "last": steps[-1].loss, "first_gradient_norm": first[0].gradient_norm},
        "ratio": seconds["median"] / ours,
    }


def table(result: dict) -> str:
    """The result for people."""
    where, work, other = result["machine"], result["batch"], result["against"]
    versions = ", ".join(f"{name} {number}" for name, number in where["versions"].items())
    lines = [
        f"{result['config']} ({result['name']}): {result['parameters'] / 1e6:.1f} M parameters, {result['dtype']}, weights {result['param_dtype']}, "
        f"remat {result['remat']}, unroll {result['unroll']}",
        f"{work['trees']} {'groups or parts of them' if result['kind'] == 'rl' else 'dialogues'}, {work['images']} images, "
        f"{work['tokens']} tokens, {work['trained_tokens']} trained, {work['updates']} updates, rows {100 * work['filled']:.0f} % full",
        f"{result['devices']} x {result['device']}, {where['processor']}, {where['cores']} cores, load before {where['load']}, {where['date']} UTC",
        versions + "".join(f", {name}={value}" for name, value in result["environment"].items()), "",
        "| | median s | min | max | core s | trained tokens/s | tokens/s | GFLOP/s | MFU |", "|---|---|---|---|---|---|---|---|---|",
        _row("jax", result["seconds"], work, result["mfu"]),
    ]
    if other:
        theirs = work | {"tokens": other["tokens"], "flops": other["flops"]}
        times = f"a step of {other['name']} takes {other['ratio']:.2f} times as long"
        share = "" if other["tokens"] == work["tokens"] else f", for {other['tokens'] / work['tokens']:.2f} times the tokens"
        lines += [_row(f"{other['name']}, {other['way']}", other["seconds"], theirs, None), "", f"{times}{share}; {_losses(result, other)}"]
    memory = result["memory"]
    lines += [
        "", f"compiled in {result['compile_seconds']:.1f} s, batch packed in {result['pack_seconds']:.2f} s, "
        f"peak memory {memory['bytes'] / 2**30:.2f} GiB of {memory['of']}", *result["notes"],
    ]
    return "\n".join(lines)


def _row(name: str, seconds: dict, work: dict, mfu: float | None) -> str:
    typical, share = seconds["median"], "" if mfu is None else f"{100 * mfu:.1f} %"
    return (f"| {name} | {typical:.4f} | {seconds['min']:.4f} | {seconds['max']:.4f} | {seconds['cores']:.4f} | "
            f"{work['trained_tokens'] / typical:.0f} | {work['tokens'] / typical:.0f} | {work['flops'] / typical / 1e9:.1f} | {share} |")


def _losses(result: dict, other: dict) -> str:
    ours, theirs = result["losses"], other["losses"]
    return (f"loss of the first step {ours['first']:.6f} and {theirs['first']:.6f}, gradient norm {ours['first_gradient_norm']:.5f} and "
            f"{theirs['first_gradient_norm']:.5f}, loss of the last step {ours['last']:.5f} and {theirs['last']:.5f}")
