"""Soak of resuming: a tiny run that is killed at random moments, again and again, ends with the bits of one that never was.

    python -m tests.kill_soak --kind rl --kills 50

Trains once without a stop, then the same run with kills: SIGKILL to the whole process group, one in five SIGTERM instead, at a random moment
of the start or of the steps that follow it. Prints a line for each kill and a line of JSON. Exit code 1 when parameters, metrics or dialogues
differ, when a step is missing or written twice, when a SIGTERM does not end with exit code 75, or when a process outlives its run by 20 s.
Run by hand: a kill takes 10 to 30 seconds. Killed itself, it starts over.
"""

import argparse
import collections
import contextlib
import ctypes
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from recoder_jax import prepare
from tests.test_train import SMALL, SMALL_RL, assert_same, command, content

CONFIGS = {"sft": ("sft", SMALL), "rl": ("stage1_shared_first_turn", SMALL_RL)}
SUBREAPER = 36  # prctl: orphans become children of this process


def lines_of(run: Path) -> int:
    metrics = run / "metrics.jsonl"
    return metrics.read_bytes().count(b"\n") if metrics.exists() else 0


def children() -> list[int]:
    """Live children of this process; dead ones are taken."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    return [int(pid) for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()]


def outlived(seconds: float) -> int:
    """Processes of a run that are still there after it."""
    deadline = time.monotonic() + seconds
    while (left := children()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return len(left)


def life(
    arguments: list[str], environment: dict[str, str], run: Path, steps: int, moments: random.Random, step_seconds: float,
) -> tuple[str, str | None]:
    """Start the run and kill it at a random moment. Returns what was done ('killed', 'terminated', 'done') and what was wrong."""
    began, lines = time.monotonic(), lines_of(run)
    if moments.random() < 0.3:
        until, delay = None, moments.uniform(0, 12)  # while it starts, compiles or restores
    else:
        until, delay = lines + moments.randrange(1, 3), moments.uniform(0, 1.5 * step_seconds)
    number = signal.SIGTERM if moments.random() < 0.2 else signal.SIGKILL
    with open(run.with_suffix(".log"), "ab") as log:
        process = subprocess.Popen(arguments, env=environment, stdout=log, stderr=log, start_new_session=True)
    while process.poll() is None and until is not None and lines_of(run) < until:
        time.sleep(0.01)
    deadline = time.monotonic() + delay
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    if process.poll() is not None:
        return "done", None if process.returncode == 0 else f"the run ended with exit code {process.returncode}, see {log.name}"
    os.killpg(process.pid, number)
    code = process.wait(timeout=120)
    done = "killed" if number == signal.SIGKILL else "terminated"
    print(f"{done} after {time.monotonic() - began:5.1f} s, {lines} -> {lines_of(run)} steps, exit code {code}", flush=True)
    allowed = {75, 0 if lines_of(run) == steps else 75, -15 if until is None else 75}  # before a run listens, SIGTERM ends it as any process
    return done, f"SIGTERM ended with exit code {code}" if done == "terminated" and code not in allowed else None


def soak(kind: str, kills: int, steps: int, seed: int, work: Path) -> dict:
    config, small = CONFIGS[kind]
    world, whole, run = work / "data", work / f"{kind}_whole", work / f"{kind}_killed"
    if prepare.main(["chart_world", f"--out={world}", "--train=24", "--validation=1", "--test=1", "--workers=2"]):
        raise SystemExit(2)
    environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(work / "compilations"), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.2"}
    extra = [*small, "--config.checkpoint.every=1", f"--config.steps={steps}"]
    subprocess.run(command(config, whole, world, extra), env=environment, check=True)
    expected = content(whole)
    seconds = statistics.median([json.loads(line)["time/step"] for line in (whole / "metrics.jsonl").read_text().splitlines()[1:]])

    moments, did, wrong = random.Random(seed), collections.Counter(), []
    while did["killed"] + did["terminated"] < kills and not did["done"]:
        what, fault = life(command(config, run, world, extra), environment, run, steps, moments, seconds)
        did[what] += 1
        wrong += [fault] if fault else []
        if left := outlived(20):
            wrong.append(f"{left} processes outlived their run")
    subprocess.run(command(config, run, world, extra), env=environment, check=True)

    got = content(run)
    numbers = [line["step"] for line in got[0]]
    if numbers != list(range(1, steps + 1)):
        wrong.append(f"metrics.jsonl holds the steps {numbers}")
    try:
        assert_same(got, expected)
    except AssertionError as error:
        wrong.append(f"the runs differ: {str(error)[:500]}")
    return {"kind": kind, "steps": steps, "step_seconds": round(seconds, 2), **did, "dialogue_files": len(got[1]), "wrong": wrong}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--kind", choices=sorted(CONFIGS), default="rl")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--steps", type=int, default=110, help="length of the run; a kill lets about one and a half steps through")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    ctypes.CDLL(None).prctl(SUBREAPER, 1)
    with tempfile.TemporaryDirectory() as work:
        told = soak(options.kind, options.kills, options.steps, options.seed, Path(work))
    print(json.dumps(told))
    return int(bool(told["wrong"]))


if __name__ == "__main__":
    sys.exit(main())
