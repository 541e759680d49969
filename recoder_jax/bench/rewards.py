"""Executions and pairs a second of the reward path, against a warm process and against cold Python.

Every way of execution gets the same program before the next program comes (interleaved), and the order turns with
every round. Seconds are medians over rounds, summed over programs. With N workers a program runs N times at once in
every way. `pair` is a generated and a golden program executed and scored; `cached` means the golden execution is there
already. Programs run uncontained too: give only those you trust.

    floor        executing and drawing in one warm process for each worker (`bench.floor`)
    cold         `python program.py`, which saves its figure, a process for each worker
    off          the sandbox, pixels and elements of the program's own process
    required     the sandbox, pixels and elements from the replay of the draw list

With --look, what the visual reward costs instead: a model with random weights looks at views. Sizes are for two cores and two minutes.
"""

import argparse
import dataclasses
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from time import perf_counter

from recoder_jax.bench.looking import look_line, measure_look
from recoder_jax.bench.machine import machine
from recoder_jax.bench.programs import PROGRAMS
from recoder_jax.bench.ways import Cold, Contained, Failed, Floor
from recoder_jax.charts.execution import Execution
from recoder_jax.charts.scores import rule_score
from recoder_jax.models.observers import MODELS

SUMMARY = "executions and pairs a second of the sandbox"
REPLAYS = ("off", "required")
# Cold interpreters that ChartMimic's evaluators start for one pair: six measures, two programs.
CHARTMIMIC_STARTS = 12
_EMPTY = "pass"          # a program without a figure: what is left is fork, walls and the way there and back


@dataclasses.dataclass(frozen=True)
class Sample:
    """Seconds of one program in one round.

    Attributes:
        wall: until all executions were there, for each of them.
        pair, uncached: with the score; with the golden execution too.
        phases: execute, draw, elements, replay and score of one execution; {} for ways that do not tell.
    """

    wall: float
    pair: float = 0.0
    uncached: float = 0.0
    phases: dict[str, float] = dataclasses.field(default_factory=dict)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--programs", metavar="DIR", help="programs to run: DIR/**/*.py (default: a set of our own)")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="numbers of workers (default: 1 2)")
    parser.add_argument("--rounds", type=int, default=3, help="measured rounds, after one that is not (default: 3)")
    parser.add_argument("--limit", type=int, help="use the first programs only")
    parser.add_argument("--replay", nargs="+", choices=REPLAYS, default=list(REPLAYS), help="modes (default: both)")
    parser.add_argument("--isolation", choices=("auto", "strict", "forced"), default="auto", help="as in the sandbox")
    parser.add_argument("--look", choices=MODELS, nargs="?", const="dinov2-small", help="measure a look at renders in place of programs, with random "
                        "weights of this model (default: dinov2-small)")
    parser.add_argument("--look-views", type=int, default=4, help="views of a look: a render of 12 tiles has 13, and so has its target (default: 4)")
    parser.add_argument("--look-side", type=int, default=448, help="pixels of a view's side (default: 448)")
    parser.add_argument("--look-batch", type=int, default=16, help="views of a call (default: 16)")
    parser.add_argument("--look-dtype", choices=("float32", "bfloat16"), default="float32", help="of weights and activations")


def measure(options: argparse.Namespace, progress: Callable[[str], None]) -> dict:
    """Runs all ways and returns what JSON holds; ValueError for options that cannot be used."""
    programs = {} if options.look else _programs(options)
    for name in ("workers", "rounds"):
        least = min(options.workers) if name == "workers" else options.rounds
        if least < 1:
            raise ValueError(f"--{name} is {least}; give at least 1")
    if options.look:
        progress(f"look: {options.look}, {options.rounds + 1} times {options.look_views} views")
        look = measure_look(options.look, options.look_dtype, options.look_side, options.look_views, options.look_batch, options.rounds)
        return {"subject": "rewards", "machine": machine(("jax", "numpy")), "rounds": options.rounds, "look": look}
    left_out: dict[str, str] = {}
    runs = []
    for workers in dict.fromkeys(options.workers):
        samples = _race(programs, workers, options, left_out, progress)
        runs.append((workers, samples))
    used = [name for name in programs if name not in left_out]
    if not used:
        name, reason = next(iter(left_out.items()))
        raise ValueError(f"no program runs in every way; {name}: {reason}")
    return {
        "subject": "rewards", "machine": machine(("matplotlib", "numpy")), "programs": len(used),
        "rounds": options.rounds, "left_out": left_out,
        "runs": [_report(workers, samples, used) for workers, samples in runs],
    }


def _programs(options: argparse.Namespace) -> dict[str, str]:
    """Name -> text."""
    if options.limit is not None and options.limit < 1:
        raise ValueError(f"--limit is {options.limit}; give at least 1")
    if options.programs is None:
        return dict(list(PROGRAMS.items())[:options.limit])
    folder = Path(options.programs)
    if not folder.is_dir():
        raise ValueError(f"--programs: {folder} is not a directory; give one that holds Python programs")
    files = sorted(folder.rglob("*.py"))[:options.limit]
    if not files:
        raise ValueError(f"--programs: {folder} holds no file whose name ends in .py")
    return {str(file.relative_to(folder)): file.read_text(encoding="utf-8", errors="replace") for file in files}


def _race(programs: dict[str, str], workers: int, options: argparse.Namespace, left_out: dict[str, str],
          progress: Callable[[str], None]) -> dict[str, dict[str, list[Sample]]]:
    """Way -> program -> one sample a round. Programs that fail in a way go to `left_out`, name -> reason."""
    with ExitStack() as stack:
        contained = {mode: stack.enter_context(Contained(workers, mode, options.isolation)) for mode in options.replay}
        ways: dict[str, Callable[[str], Sample]] = {
            "floor": lambda text, way=stack.enter_context(Floor(workers)): Sample(way.run(text)),
            "cold": lambda text, way=stack.enter_context(Cold(workers)): Sample(way.run(text)),
        } | {mode: lambda text, way=way: _sample(way, text) for mode, way in contained.items()}
        samples = {way: {name: [] for name in [*programs, _EMPTY]} for way in ways}
        for round_ in range(options.rounds + 1):
            for name, text in programs.items():
                if name in left_out:
                    continue
                try:
                    for way in _turned(list(ways), round_):
                        samples[way][name].append(ways[way](text))
                except Failed as error:
                    left_out[name] = str(error)
                    progress(f"left out: {name}: {error}")
            for mode, way in contained.items():
                samples[mode][_EMPTY].append(Sample(way.run(_EMPTY)[0]))
            progress(f"{workers} workers: {f'round {round_}' if round_ else 'warm-up'} done")
    return {way: {name: taken[1:] for name, taken in of.items()} for way, of in samples.items()}


def _turned(ways: list[str], round_: int) -> list[str]:
    start = round_ % len(ways)
    return ways[start:] + ways[:start]


def _sample(way: Contained, program: str) -> Sample:
    """Executes a program as generated, then as generated and golden, and scores; Failed when it gives no figure."""
    wall, executions = way.run(program)
    for execution in executions:
        if not execution.ok:
            raise Failed(f"{execution.status.value}: {' '.join(execution.log.splitlines()[-1:])}")
    score = _score(executions, executions)
    both, more = way.run(program, each=2)
    if not all(execution.ok for execution in more):
        raise Failed("it gave a figure once and none the next time")
    second = _score(more[:way.copies], more[way.copies:])
    phases = {field: sum(getattr(execution.phases, field) for execution in executions) / way.copies
              for field in ("execute", "draw", "elements", "replay")}
    return Sample(wall, wall + score, both + second, phases | {"score": score / way.copies})


def _score(generated: list[Execution], golden: list[Execution]) -> float:
    """Seconds it takes to score all."""
    start = perf_counter()
    for one, other in zip(generated, golden, strict=True):
        rule_score(one, other)
    return perf_counter() - start


def _report(workers: int, samples: dict[str, dict[str, list[Sample]]], used: list[str]) -> dict:
    """Rates, ratios and shares for one number of workers."""
    def total(way: str, field: str) -> float:
        return sum(median(getattr(sample, field) for sample in samples[way][name]) for name in used)

    floor, cold = total("floor", "wall"), total("cold", "wall")
    report = {"workers": workers, "floor_seconds": floor / len(used), "cold_seconds": cold / len(used), "replay": {}}
    for way in (mode for mode in REPLAYS if mode in samples):
        wall, pair, uncached = (total(way, field) for field in ("wall", "pair", "uncached"))
        pairs, theirs = workers * len(used) / pair, workers * len(used) / (CHARTMIMIC_STARTS * cold)
        report["replay"][way] = {
            "seconds": wall / len(used),
            "executions_per_second": workers * len(used) / wall,
            "pairs_per_second_cached": pairs,
            "pairs_per_second_uncached": workers * len(used) / uncached,
            "ratio_to_floor": wall / floor,
            "median_ratio_to_floor": median(
                median(sample.wall for sample in samples[way][name]) /
                median(sample.wall for sample in samples["floor"][name]) for name in used),
            "speedup_over_cold": cold / wall,
            "pairs_over_chartmimic_cached": pairs / theirs,
            "pairs_over_chartmimic_uncached": workers * len(used) / uncached / theirs,
            "shares": _shares(samples[way], used, wall),
        }
    return report


def _shares(samples: dict[str, list[Sample]], used: list[str], wall: float) -> dict[str, float]:
    """Share of each phase in the wall time with the score; `transfer` is what no other phase accounts for."""
    seconds = {"fork_and_walls": len(used) * median(sample.wall for sample in samples[_EMPTY])}
    for phase in ("execute", "draw", "elements", "replay", "score"):
        seconds[phase] = sum(median(sample.phases[phase] for sample in samples[name]) for name in used)
    score = seconds.pop("score")
    seconds |= {"transfer": max(0.0, wall - sum(seconds.values())), "score": score}
    return {phase: value / sum(seconds.values()) for phase, value in seconds.items()}


def table(result: dict) -> str:
    """The result for people."""
    where = result["machine"]
    if "look" in result:
        return (f"{look_line(result['look'])}\nmedian of {result['rounds']} rounds, {where['processor']}, {where['cores']} cores, load {where['load']}, "
                f"jax {where['versions']['jax']}, {where['date']} UTC")
    lines = [f"{result['programs']} programs, median of {result['rounds']} rounds, {where['processor']}, "
             f"{where['cores']} cores, load {where['load']}, Python {where['versions']['python']}, "
             f"matplotlib {where['versions']['matplotlib']}, {where['date']} UTC", "",
             "| workers | way | ms | executions/s | pairs/s cached | uncached | x floor | cold / it | x ChartMimic |",
             "|---|---|---|---|---|---|---|---|---|"]
    for run in result["runs"]:
        workers, floor, cold = run["workers"], run["floor_seconds"], run["cold_seconds"]
        lines += [f"| {workers} | {way} | {1e3 * seconds:.1f} | {workers / seconds:.1f} | | | {seconds / floor:.2f} | "
                  f"{cold / seconds:.1f} | |" for way, seconds in (("cold", cold), ("floor", floor))]
        lines += [f"| {workers} | {way} | {1e3 * it['seconds']:.1f} | {it['executions_per_second']:.1f} | "
                  f"{it['pairs_per_second_cached']:.1f} | {it['pairs_per_second_uncached']:.1f} | "
                  f"{it['ratio_to_floor']:.2f} | {it['speedup_over_cold']:.1f} | "
                  f"{it['pairs_over_chartmimic_cached']:.0f} |" for way, it in run["replay"].items()]
    lines += ["", f"x ChartMimic: pairs/s cached over those of {CHARTMIMIC_STARTS} cold starts a pair.", ""]
    for run in result["runs"]:
        for way, it in run["replay"].items():
            shares = ", ".join(f"{phase} {100 * share:.1f} %" for phase, share in it["shares"].items())
            lines.append(f"{run['workers']} workers, replay {way}: {shares}")
    lines += [f"left out: {name}: {reason}" for name, reason in result["left_out"].items()]
    return "\n".join(lines)
