"""New tokens a second of the engine, and with --against=torch of transformers' `generate` beside it.

    python -m recoder_jax.bench decode --config=configs/tiny/sft.py [--rows=1,16,64] [--group=8] [--new=64] [--prompt=128] [--against=torch] [--json]

Random weights; every row decodes the same number of tokens at temperature 1, and nothing ends a row before. A prompt is that of a chart
whose image is at the config's cap, or with --prompt so many tokens of text. Each row has a prompt of its own, or with --group so many
rows share one, as the responses to a chart do in a rollout; `generate` then reads it once a row. The whole run counts: cache, prefill
and decoding. A second run of one token gives the prefill, and the difference the decoding.

Where the memory's bandwidth is in the table of planning/machines.py, the time of a token is set against the floor: the weights and the keys
and values of all rows, those of a shared prompt once, read once.
"""

import argparse
import os
from collections.abc import Callable
from statistics import median

from recoder_jax.bench.machine import Elsewhere, machine

SUMMARY = "new tokens a second, alone or against transformers"
PACKAGES = ("jax", "jaxlib", "flax")
ENVIRONMENT = ("JAX_PLATFORMS", "XLA_FLAGS", "GLIBC_TUNABLES", "LD_PRELOAD", "OMP_NUM_THREADS", "OMP_WAIT_POLICY")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", required=True, metavar="FILE", help="config file; --config.a.b=value overrides a key")
    parser.add_argument("--rows", default="1,16,64", metavar="N,N", help="rows decoded side by side (default: 1,16,64)")
    parser.add_argument("--group", type=int, default=1, metavar="N", help="rows that share a prompt (default: 1)")
    parser.add_argument("--new", type=int, default=64, help="new tokens of every row (default: 64)")
    parser.add_argument("--prompt", type=int, default=0, metavar="TOKENS", help="text prompts of this length (default: a chart's prompt, with image)")
    parser.add_argument("--chunk", type=int, default=0, help="tokens of a chunk (default: rollout.chunk)")
    parser.add_argument("--repeats", type=int, default=5, help="timed runs of each (default: 5)")
    parser.add_argument("--against", choices=("torch",), help="time transformers' generate too, on the same cores, in turns")


def measure(options: argparse.Namespace, progress: Callable[[str], None]) -> dict:
    """Runs everything and returns what JSON holds; ValueError for options that cannot be used."""
    rows = numbers(options.rows, "--rows")
    for name, least in (("group", 1), ("new", 2), ("prompt", 0), ("chunk", 0), ("repeats", 1)):
        if getattr(options, name) < least:
            raise ValueError(f"--{name} is {getattr(options, name)}; give at least {least}")
    if odd := [count for count in rows if count % options.group]:
        raise ValueError(f"--rows has {odd[0]}, no multiple of --group, which is {options.group}; change one")
    import jax  # here, as the subjects that need no jax start without it

    from recoder_jax.bench import torch_decode
    from recoder_jax.bench.sampled import sampled_policy
    from recoder_jax.configuration import load
    from recoder_jax.planning.machines import chip_of

    config = load(options.config, options.overrides)
    if options.against:
        torch_decode.check(config.model.dtype, jax.default_backend())
    where = machine(PACKAGES + (("torch", "transformers") if options.against else ()))
    sampled, elsewhere = sampled_policy(config), Elsewhere()
    chip, results = chip_of(sampled.mesh.devices.flatten().tolist()), []
    for count in rows:
        results.append(one_size(sampled, count, options, options.chunk or config.rollout.chunk, chip, progress))
    return {
        "subject": "decode", "config": options.config, "preset": config.model.preset, "parameters": sampled.policy.config.parameters(),
        "dtype": config.model.dtype, "devices": sampled.mesh.devices.size, "device": sampled.mesh.devices.flatten()[0].device_kind,
        "machine": where, "environment": {name: os.environ[name] for name in ENVIRONMENT if name in os.environ},
        "group": options.group, "new": options.new, "prompt": len(sampled.prompt(options.prompt)), "images": int(options.prompt == 0), "rows": results,
        "elsewhere": elsewhere.share(),
    }  # fmt: skip


def one_size(sampled, count: int, options: argparse.Namespace, chunk: int, chip, progress: Callable[[str], None]) -> dict:
    """Medians of a number of rows."""
    from recoder_jax.bench import torch_decode

    prompts = [sampled.prompt(options.prompt) for _ in range(count // options.group)]
    rival = torch_decode.decoder_of(sampled.policy.config, sampled.trained, prompts, count) if options.against else None
    threads = sorted({torch_decode.cores(), 1}, reverse=True) if rival else []
    ours, theirs = {1: [], options.new: []}, {(n, new): [] for n in threads for new in (1, options.new)}
    for turn in range(options.repeats + 1):
        for new in (1, options.new):
            ours[new].append(engine_seconds(sampled, prompts, options.group, new, chunk))
            for n in threads:
                theirs[n, new].append(rival.generate(new, n).seconds)
        said = ", ".join(f"torch with {n} threads {theirs[n, options.new][-1]:.3f} s" for n in threads)
        progress(f"{count} rows, {turn} of {options.repeats}: {ours[options.new][-1]:.3f} s{', ' * bool(said)}{said}")
    whole, first = (median(ours[new][1:]) for new in (options.new, 1))
    result = {"rows": count, "chunk": chunk} | speeds(whole, first, count, options.new)
    if chip is not None:
        config, held = sampled.policy.config, len(prompts[0]) / options.group + options.new / 2
        read = 2 * config.parameters() + count * held * 4 * config.text.layers * config.text.kv_heads * config.text.head_dim
        result["floor_share"] = read / chip.bandwidth / sampled.mesh.devices.size / result["step"]
    if rival:
        medians = {n: (median(theirs[n, options.new][1:]), median(theirs[n, 1][1:])) for n in threads}
        n = min(medians, key=medians.get)
        result["torch"] = {"threads": n} | speeds(*medians[n], count, options.new)
        result["ratio"] = {"whole": medians[n][0] / whole, "step": result["torch"]["step"] / result["step"]}
    return result


def engine_seconds(sampled, prompts: list, group: int, new: int, chunk: int) -> float:
    """Seconds of the engine, its cache included, for `new` tokens in each of `group` rows behind each prompt."""
    from recoder_jax.bench.sampled import run_to_end
    from recoder_jax.sampling.functions import room_for
    from recoder_jax.sampling.places import Request

    shards, count = sampled.sampler.shards, len(prompts)
    places = -(-count // shards) * shards
    room = room_for(places, group, 1, 0, len(prompts[0]), new, 0, places, min(chunk, new), sampled.sampler.buckets)
    return run_to_end(sampled, room, [Request(prompt, (0, 0, index), new, rows=group) for index, prompt in enumerate(prompts)])


def speeds(whole: float, first: float, rows: int, new: int) -> dict[str, float]:
    """Seconds of a run, of its prefill and first token, of a later token of every row; new tokens a second with and without the prefill."""
    step = (whole - first) / (new - 1)
    return {"whole": whole, "first": first, "step": step, "tokens_per_s": rows * new / whole, "decoded_tokens_per_s": rows / step}


def numbers(text: str, option: str) -> list[int]:
    """Positive numbers of '1,16,64'; ValueError for another form."""
    parts = text.split(",")
    if not all(part.isdecimal() and int(part) for part in parts):
        raise ValueError(f"{option} is {text!r}; write positive numbers separated by commas, such as 1,16,64")
    return [int(part) for part in parts]


def table(result: dict) -> str:
    """The result for people."""
    where = result["machine"]
    kind = "a prompt with an image" if result["images"] else "a text prompt"
    shared = "" if result["group"] == 1 else f" for every {result['group']} rows"
    lines = [
        f"{result['preset']}, {result['parameters'] / 1e6:.1f} M parameters, {result['dtype']}, {kind} of {result['prompt']} tokens{shared}, {result['new']} new tokens",
        f"{result['devices']} x {result['device']}, {where['processor']}, {where['cores']} cores, load before {where['load']}, {where['date']} UTC",
        ", ".join(f"{name} {number}" for name, number in where["versions"].items()) + "".join(f", {k}={v}" for k, v in result["environment"].items()),
        f"other processes had {100 * (result['elsewhere'] or 0):.0f} % of the cores", "",
        "| rows | | whole s | prefill s | ms a token | new tokens/s | decoded tokens/s | times torch, whole / decoding | share of the floor |",
        "|---:|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in result["rows"]:
        ratio, floor = row.get("ratio"), row.get("floor_share")
        said = f"{ratio['whole']:.2f} / {ratio['step']:.2f}" if ratio else ""
        lines.append(_line(row["rows"], f"engine, chunk {row['chunk']}", row, said, "" if floor is None else f"{100 * floor:.0f} %"))
        if ratio:
            lines.append(_line(row["rows"], f"transformers, {row['torch']['threads']} threads", row["torch"], "", ""))
    return "\n".join(lines)


def _line(rows: int, who: str, it: dict, ratio: str, floor: str) -> str:
    return (f"| {rows} | {who} | {it['whole']:.3f} | {it['first']:.3f} | {1e3 * it['step']:.2f} | {it['tokens_per_s']:.0f} | "
            f"{it['decoded_tokens_per_s']:.0f} | {ratio} | {floor} |")
