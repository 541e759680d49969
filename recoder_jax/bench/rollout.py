"""What the engine's ways bring: the cost of a group against its size and its prefix, against the naive way, and the host's work behind the device's.

    python -m recoder_jax.bench rollout --config=configs/tiny/stage1_shared_first_turn.py [--groups=1,2,4,8,16] [--prompts=128,512] [--json]

Random weights; responses reach rollout.response_tokens, and nothing ends one before.

- group: one turn, `--charts` charts, G rows each, for every G; and for every length of --prompts with the config's G. A prompt is a chart's
  with its image where no length is given.
- stage 1: a first turn shared, feedback with a render, G second turns, by the engine and by the naive way, which prefills and decodes the
  first turn once a row, and for the second turn prefills the whole dialogue of each row again.
- hidden: dialogues of two turns on real device work while every program takes --program-seconds and every judgement --judge-seconds of a
  waiting host: the share of the seconds with a program or a question under way in which the device worked too.
"""

import argparse
import dataclasses
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from statistics import median

from recoder_jax.bench.decode import ENVIRONMENT, numbers
from recoder_jax.bench.machine import Elsewhere, machine

SUMMARY = "what shared prefixes and work behind the device bring to a rollout"
PACKAGES = ("jax", "jaxlib", "flax")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", required=True, metavar="FILE", help="config file of RL; --config.a.b=value overrides a key")
    parser.add_argument("--groups", default="1,2,4,8,16", metavar="N,N", help="sizes of a group (default: 1,2,4,8,16)")
    parser.add_argument("--prompts", default="128,256,512,1024", metavar="N,N", help="lengths of text prompts (default: 128,256,512,1024)")
    parser.add_argument("--charts", type=int, default=4, help="charts side by side (default: 4)")
    parser.add_argument("--waiting-charts", type=int, default=96, help="charts of the run whose host waits (default: 96)")
    parser.add_argument("--workers", type=int, default=32, help="programs at once in that run (default: 32)")
    parser.add_argument("--program-seconds", type=float, default=0.5, help="of every program in that run (default: 0.5)")
    parser.add_argument("--judge-seconds", type=float, default=1.0, help="of every judgement in that run (default: 1)")
    parser.add_argument("--repeats", type=int, default=3, help="timed runs of each (default: 3)")


def measure(options: argparse.Namespace, progress: Callable[[str], None]) -> dict:
    """Runs everything and returns what JSON holds; ValueError for options that cannot be used."""
    groups, lengths = numbers(options.groups, "--groups"), numbers(options.prompts, "--prompts")
    for name in ("charts", "waiting_charts", "workers", "repeats"):
        if getattr(options, name) < 1:
            raise ValueError(f"--{name.replace('_', '-')} is {getattr(options, name)}; give at least 1")
    from recoder_jax.bench.sampled import sampled_policy
    from recoder_jax.configuration import load

    config = load(options.config, options.overrides)
    if config.kind != "rl":
        raise ValueError(f"{options.config!r} is of kind {config.kind}; give a config of RL")
    where, sampled, elsewhere = machine(PACKAGES), sampled_policy(config), Elsewhere()
    bench, group = Bench(sampled, config, options, progress), config.rollout.group
    result = {
        "subject": "rollout", "config": options.config, "preset": config.model.preset, "dtype": config.model.dtype, "charts": options.charts,
        "response_tokens": config.rollout.response_tokens, "machine": where, "environment": {name: os.environ[name] for name in ENVIRONMENT if name in os.environ},
        "by_group": [{"group": size, "seconds": bench.one_turn(size, 0)} for size in groups],
        "by_prompt": [{"prompt": n, "seconds": bench.one_turn(group, n), "single": bench.one_turn(1, n)} for n in lengths],
        "stage1": bench.stage1(group), "hidden": bench.hidden(options.waiting_charts, options.program_seconds, options.judge_seconds),
    }  # fmt: skip
    return result | {"elsewhere": elsewhere.share()}


@dataclasses.dataclass(frozen=True)
class Bench:
    """The measurements, on one policy. sampled: `bench.sampled.Sampled`."""

    sampled: object
    config: object
    options: argparse.Namespace
    progress: Callable[[str], None]

    def timed(self, name: str, run: Callable[[], float]) -> float:
        """Median seconds, after one run that is not counted."""
        seconds = median([run() for _ in range(self.options.repeats + 1)][1:])
        self.progress(f"{name}: {seconds:.3f} s")
        return seconds

    def room(self, rows: int, turns: int, shared: int, prompt: int, places: int | None = None, response: int | None = None):
        from recoder_jax.sampling.functions import room_for

        rollout, shards = self.config.rollout, self.sampled.sampler.shards
        places = -(-(places or self.options.charts) // shards) * shards
        response = response or rollout.response_tokens
        return room_for(places, rows, turns, shared, prompt, response, rollout.feedback_tokens, places, min(rollout.chunk, response), self.sampled.sampler.buckets)

    def run(self, room, prompts, rows: int, tokens: int, shared: int = 0, feedback=()) -> float:
        from recoder_jax.bench.sampled import run_to_end
        from recoder_jax.sampling.places import Request

        requests = [Request(prompt, (0, 0, index), tokens, rows=rows, shared=shared) for index, prompt in enumerate(prompts)]
        return run_to_end(self.sampled, room, requests, feedback)

    def one_turn(self, group: int, length: int) -> float:
        """Seconds of one turn of a group a chart. length: of a text prompt, 0 for a chart's."""
        prompts = [self.sampled.prompt(length) for _ in range(self.options.charts)]
        room, tokens = self.room(group, 1, 0, len(prompts[0])), self.config.rollout.response_tokens
        return self.timed(f"groups of {group}, prompt of {len(prompts[0])}", lambda: self.run(room, prompts, group, tokens))

    def stage1(self, group: int) -> dict:
        """Seconds of stage 1's tree and of the naive way, and of the naive way's two parts."""
        from recoder_jax.dialogue.encoder import Tokens

        sampled, charts, tokens = self.sampled, self.options.charts, self.config.rollout.response_tokens
        prompts, feedback = [sampled.prompt(0) for _ in range(charts)], sampled.pieces.fresh(sampled.pieces.feedback)
        room = self.room(group, 2, 1, len(prompts[0]))
        ours = self.timed("stage 1, engine", lambda: self.run(room, prompts, group, tokens, 1, [feedback]))
        said = Tokens(sampled.prompt(tokens).ids)
        repeated = [sampled.pieces.fresh(prompt) for prompt in prompts for _ in range(group)]
        longer = [prompt + said + sampled.pieces.fresh(feedback) for prompt in repeated]
        firsts, seconds = (self.room(1, 1, 0, len(part[0]), places=charts * group) for part in (repeated, longer))
        first = self.timed("stage 1, naive, turn 1", lambda: self.run(firsts, repeated, 1, tokens))
        second = self.timed("stage 1, naive, turn 2", lambda: self.run(seconds, longer, 1, tokens))
        return {"group": group, "prompt": len(prompts[0]), "feedback": len(feedback), "engine": ours, "naive": [first, second],
                "ratio": (first + second) / ours}  # fmt: skip

    def hidden(self, charts: int, program: float, judge: float) -> dict:
        """The share of the host's seconds behind the device's, with a host that waits."""
        import jax
        import numpy as np

        from recoder_jax import factory
        from recoder_jax.charts.chart import Chart
        from recoder_jax.charts.goldens import Goldens
        from recoder_jax.dialogue.turns import Prompts
        from recoder_jax.rewards.mixture import Mixture
        from recoder_jax.rollout.play import Player

        sampled = self.sampled
        plan = dataclasses.replace(factory.plan_of(self.config), turns=2)
        slots, waiting = factory.slots_of(self.config), Waiting(program, self.options.workers)
        mixture = Mixture(0.5, 0.4, Slow(judge))
        player = Player(sampled.sampler, sampled.policy.encoder, waiting, mixture, Prompts(), Goldens(), slots)
        image = np.random.default_rng(0).integers(0, 256, (56, 56, 3), np.uint8)
        played = [Chart(str(index), image, "", "line") for index in range(charts)]
        with jax.set_mesh(sampled.mesh):
            for _ in range(2):  # the first run compiles
                _, times = player.play(sampled.params, played, plan, 0, 0)
        metrics = times.metrics()
        self.progress(f"host hidden: {100 * metrics['process/hidden_share']:.1f} %")
        return {"charts": charts, "program_seconds": program, "judge_seconds": judge, "workers": waiting.workers, "share": metrics["process/hidden_share"],
                "device": metrics["time/sample"], "execute": metrics["time/execute"], "judge": metrics["time/judge"]}  # fmt: skip


class Waiting:
    """Stands for a sandbox: every program ends with a picture after some seconds in which nothing is computed, `workers` at a time."""

    def __init__(self, seconds: float, workers: int):
        self._seconds, self.workers, self._slots = seconds, workers, threading.Semaphore(workers)

    def submit(self, program: str) -> Future:
        future = Future()
        threading.Thread(target=self._run, args=(future,), daemon=True).start()
        return future

    def _run(self, future: Future) -> None:
        import numpy as np

        from recoder_jax.charts.execution import Execution, Status

        with self._slots:
            threading.Event().wait(self._seconds)
        picture = np.tile(np.arange(56, dtype=np.uint8)[:, None, None], (1, 56, 3))
        future.set_result(Execution(Status.ok, picture, None, "", self._seconds))


class Slow:
    """Stands for a judge that answers after some seconds."""

    def __init__(self, seconds: float):
        self._seconds = seconds

    def submit(self, reference, render, fresh: bool = False) -> Future:
        from recoder_jax.rewards.judgement import Judgement

        future = Future()
        threading.Timer(self._seconds, lambda: future.set_result(Judgement(score=0.5))).start()
        return future


def table(result: dict) -> str:
    """The result for people."""
    where, stage1, hidden = result["machine"], result["stage1"], result["hidden"]
    least = result["by_group"][0]
    lines = [
        f"{result['preset']}, {result['dtype']}, {result['charts']} charts, responses of {result['response_tokens']} tokens; {where['processor']}, "
        f"{where['cores']} cores, load before {where['load']}, {where['date']} UTC",
        f"other processes had {100 * (result['elsewhere'] or 0):.0f} % of the cores", "",
        "| rows of a chart | seconds | times those of the first | |", "|---:|---:|---:|---|",
        *[f"| {row['group']} | {row['seconds']:.3f} | {row['seconds'] / least['seconds']:.2f} | |" for row in result["by_group"]], "",
        f"| text prompt | seconds, {stage1['group']} rows | seconds, 1 row |", "|---:|---:|---:|",
        *[f"| {row['prompt']} | {row['seconds']:.3f} | {row['single']:.3f} |" for row in result["by_prompt"]], "",
        f"stage 1, groups of {stage1['group']}: engine {stage1['engine']:.3f} s; repeated prompts {stage1['naive'][0]:.3f} s and whole dialogues "
        f"prefilled again {stage1['naive'][1]:.3f} s: {stage1['ratio']:.2f} times as long",
        f"host hidden behind the device: {100 * hidden['share']:.1f} % ({hidden['charts']} charts, programs {hidden['execute']:.1f} s, judge "
        f"{hidden['judge']:.1f} s, device {hidden['device']:.1f} s)",
    ]
    return "\n".join(lines)
