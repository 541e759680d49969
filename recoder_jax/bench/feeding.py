"""Dialogues and tokens a second that the host prepares for SFT, beside what a step consumes.

    python -m recoder_jax.bench data --config=configs/tiny/sft.py [--turns=2] [--image=864x1152] [--hosts=N] [--step-seconds=S] [--config.a.b=v] [--json]

A temporary set of charts (drawn by matplotlib at the config's largest images, or --image) is read as `train` reads its own: ArrayRecord, PNG, image
processor, tokenizer, one thread ahead of the step. Programs are as long as the rows allow. Packing is measured apart: it stands between two steps,
in the thread that starts them. --hosts takes one host's share of the batch. No policy is made.
"""

import argparse
import dataclasses
import math
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import numpy as np

from recoder_jax.bench.machine import Elsewhere, machine

SUMMARY = "dialogues and tokens a second that the host prepares, against a step"
PACKAGES = ("jax", "grain", "array_record", "Pillow", "numpy", "tokenizers", "tensorflow-datasets")
NAME, LINE = "stand_ins", "plt.plot([1, 2, 3], [4, 5, 6], color='C0')\n"
HEAD = "import matplotlib.pyplot as plt\n"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", required=True, metavar="FILE", help="config file of an SFT; --config.a.b=value overrides a key")
    parser.add_argument("--batches", type=int, default=4, help="timed batches (default: 4)")
    parser.add_argument("--turns", type=int, choices=(1, 2), default=1, help="turns of a dialogue, an image each (default: 1)")
    parser.add_argument("--image", metavar="HEIGHTxWIDTH", help="pixels of every image (default: 4 : 3 at image.max_pixels)")
    parser.add_argument("--hosts", type=int, default=1, help="hosts that share the batch; one share is measured (default: 1)")
    parser.add_argument("--step-seconds", type=float, metavar="S", help="seconds of a step, measured (bench train) or planned (plan), to compare with")


def measure(options: argparse.Namespace, progress: Callable[[str], None]) -> dict:
    """Prepares the batches and returns what JSON holds; ValueError for options that cannot be used."""
    if options.batches < 1 or options.hosts < 1 or (options.step_seconds is not None and not 0 < options.step_seconds < math.inf):
        raise ValueError(f"--batches is {options.batches}, --hosts {options.hosts} and --step-seconds {options.step_seconds}; give numbers above 0")
    from recoder_jax import factory, learner  # here, as the subjects that need no jax start without it
    from recoder_jax.bench.train import image_size
    from recoder_jax.rollout.lessons import SupervisedLessons

    config, notes = prepared(options)
    encoder, where = factory.encoder_of(config), machine(PACKAGES)
    unit = math.ceil(math.sqrt(config.image.max_pixels / 12))
    size = image_size(options.image) or (3 * unit, 4 * unit)
    with tempfile.TemporaryDirectory() as folder:
        lines = write_set(folder, config, encoder, size, options.turns)
        config.data.dir, config.data.name, config.data.split, config.data.mixed_with = folder, NAME, "train", ""
        lessons, elsewhere, seconds, packs = SupervisedLessons(config, encoder), Elsewhere(), [], []
        lessons(None, 0, 0)
        cores = time.process_time()
        for step in range(1, options.batches + 1):
            began = time.perf_counter()
            lesson = lessons(None, step, step * config.batch.size)
            seconds.append(time.perf_counter() - began)
            progress(f"batch {step} of {options.batches}: {seconds[-1]:.3f} s")
        busy, cores = elsewhere.share(), (time.process_time() - cores) / options.batches
        for _ in range(3):
            began = time.perf_counter(), time.process_time()
            filled = 1 - learner.packed(lesson.trees, config, factory.one_device(), encoder.image_id).padding
            packs.append((time.perf_counter() - began[0], time.process_time() - began[1]))
    each, pieces = median(seconds), [piece for tree in lesson.trees for piece, _ in tree.strands()]
    tokens, images = sum(len(piece.ids) for piece in pieces), sum(len(piece.images) for piece in pieces)
    step = options.step_seconds
    return {
        "subject": "data", "config": options.config, "name": config.name, "hosts": options.hosts, "batches": options.batches, "notes": notes, "machine": where,
        "elsewhere": busy, "image": list(size), "lines": lines, "dialogues": len(lesson.trees), "images": images, "tokens": tokens, "filled": filled,
        "seconds": {"median": each, "min": min(seconds), "max": max(seconds), "cores": cores},
        "pack_seconds": {"median": median(wall for wall, _ in packs), "cores": median(own for _, own in packs)}, "step_seconds": step,
        "dialogues_per_s": len(lesson.trees) / each, "images_per_s": images / each, "tokens_per_s": tokens / each,
        "consumed_dialogues_per_s": step and len(lesson.trees) / step, "times": step and step / each,
    }  # fmt: skip


def prepared(options: argparse.Namespace):
    """The config of one host's share, with a tokenizer that is there; and notes about it."""
    from recoder_jax.configuration import load

    config, notes = load(options.config, options.overrides), []
    if config.kind != "sft":
        raise ValueError(f"the config is of kind {config.kind}, whose dialogues the policy makes; give one of kind sft")
    if config.tokenizer != "tiny" and not Path(config.tokenizer, "tokenizer.json").is_file():
        notes.append(f"there is no tokenizer in {config.tokenizer!r}; that of the tiny policy makes the tokens")
        config.tokenizer = "tiny"
    for key in ("size", "rows"):
        if config.batch[key] % options.hosts:
            raise ValueError(f"--hosts is {options.hosts}, which does not divide batch.{key} = {config.batch[key]}; give a divisor")
        config.batch[key] //= options.hosts
    config.steps = options.batches + 1
    return config, notes


def write_set(folder: str, config, encoder, size: tuple[int, int], turns: int) -> int:
    """A set of dialogues that fill the rows, below `folder`; the lines of their programs. ValueError where the rows hold none."""
    from recoder_jax.charts.chart import Chart
    from recoder_jax.data.builders import ChartRecord, CorrectionRecord
    from recoder_jax.data.building import Request, Tally, build
    from recoder_jax.data.examples import Example
    from recoder_jax.dialogue.response import write_response
    from recoder_jax.dialogue.turns import Prompts
    from recoder_jax.rollout.lessons import example_tree

    def charts(count: int, lines: int) -> Iterator[ChartRecord]:
        for number in range(count):
            yield ChartRecord(Chart(f"stand-in {number}", drawn(number, size), HEAD + LINE * lines), "", "none", "none")

    (first,) = charts(1, 1)

    def tokens(lines: int) -> int:
        chart = dataclasses.replace(first.chart, program=HEAD + LINE * lines)
        response = write_response("", chart.program)
        example = Example(chart, (response,) * turns, (True,) * turns, ((chart.image, ""),) * (turns - 1))
        return example_tree(example, encoder, Prompts(), config.rollout.feedback_tokens).size

    empty, line = tokens(1), tokens(2) - tokens(1)
    if empty > config.batch.row_tokens:
        raise ValueError(f"a dialogue takes {empty} tokens and batch.row_tokens is {config.batch.row_tokens}; raise it, or give a smaller --image or fewer --turns")
    lines = 1 + (config.batch.row_tokens - empty) // line
    while tokens(lines) > config.batch.row_tokens:
        lines -= 1

    def records() -> Iterator[ChartRecord | CorrectionRecord]:
        whole = charts(config.batch.size, lines)
        return whole if turns == 1 else (CorrectionRecord(one, one.chart.program, one.chart.image, "", "") for one in whole)

    build(Request(NAME, "a", "corrections" if turns == 2 else "charts", {}, "stand-ins", "none", "none"), {"train": records}, Tally(), folder)
    return lines


def drawn(number: int, size: tuple[int, int]) -> np.ndarray:
    """A chart of lines, bars and words, uint8 [H, W, 3] of `size`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(size[1] / 100, size[0] / 100), dpi=100)
    canvas, rng = FigureCanvasAgg(figure), np.random.default_rng(number)
    for place in range(4):
        axes = figure.add_subplot(2, 2, place + 1, title=f"panel {place} of chart {number}", xlabel="x", ylabel="value")
        axes.plot(rng.normal(size=(40, 3)).cumsum(0), label=["a", "b", "c"]) if place % 2 else axes.bar(range(8), rng.uniform(size=8))
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def table(result: dict) -> str:
    """The result for people."""
    where, height, width = result["machine"], *result["image"]
    elsewhere = "" if result["elsewhere"] is None else f", {100 * result['elsewhere']:.0f} % of all cores busy with other processes"
    lines = [
        f"{result['config']} ({result['name']}), one of {result['hosts']} hosts: {result['dialogues']} dialogues a batch, {result['images']} images of {height} x {width} pixels, "
        f"{result['tokens']} tokens, rows {100 * result['filled']:.0f} % full",
        f"{where['processor']}, {where['cores']} cores, load before {where['load']}, {where['date']} UTC{elsewhere}", "",
        "| s a batch, median | min | max | core s | dialogues/s | images/s | tokens/s | packing, s | core s |", "|---|---|---|---|---|---|---|---|---|",
        f"| {result['seconds']['median']:.3f} | {result['seconds']['min']:.3f} | {result['seconds']['max']:.3f} | {result['seconds']['cores']:.3f} | {result['dialogues_per_s']:.1f} | {result['images_per_s']:.1f} | "
        f"{result['tokens_per_s']:.0f} | {result['pack_seconds']['median']:.3f} | {result['pack_seconds']['cores']:.3f} |",
    ]  # fmt: skip
    if result["step_seconds"]:
        lines += ["", f"a step of {result['step_seconds']:g} s consumes {result['consumed_dialogues_per_s']:.1f} dialogues/s: the host prepares {result['times']:.2f} times as many"]
    return "\n".join([*lines, *result["notes"]])
