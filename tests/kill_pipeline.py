"""Drill of the chain: launch/pipeline.sh on tiny, killed at random moments and started again, ends as one that never was.

    python -m tests.kill_pipeline --kills 2

Runs the four stages with their evaluations once without a stop, then again with kills: SIGKILL to the launcher and everything it started, at a
random moment of a random command that has not ended yet. Prints a line for each kill and a line of JSON. Exit code 1 when parameters, metrics,
dialogues or results of any stage differ. Run by hand: it takes some minutes.
"""

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from recoder_jax import prepare
from recoder_jax.runs.directory import RunDirectory
from tests.test_train import assert_same, content

STAGES = ("sft", "corrections", "stage1", "stage2")
CONFIGS = ("sft", "sft_corrections", "stage1_shared_first_turn", "stage2_full_trajectory", "evaluate")
SMALLER = """
import runpy


def get_config():
    config = runpy.run_path({file!r})["get_config"]()
    config.steps, config.checkpoint.every, config.log.rollouts_every = 4, 2, 1
    config.batch.size, config.batch.rows, config.model.unroll, config.sandbox.workers = 4, 4, 1, 1
    config.rollout.group, config.rollout.response_tokens, config.rollout.charts = 2, 24, 4
    if config.kind == "rl":
        config.batch.rows, config.batch.row_tokens = 1, 800
    if config.data.mixed_with:
        config.data.mixed_with = "chart_world:train[:8]"
    config.evaluation.charts = config.evaluation.batch = 6
    return config
"""


def pipeline(configs: Path, out: Path, environment: dict[str, str]) -> subprocess.Popen:
    with open(out.with_suffix(".log"), "ab") as log:
        command = ["bash", "launch/pipeline.sh", str(configs), str(out)]
        return subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)


def tree(pid: int) -> list[int]:
    """A process and all that it started, as far as they live."""
    found = [pid]
    with contextlib.suppress(OSError):
        for task in Path("/proc", str(pid), "task").iterdir():
            for child in (task / "children").read_text().split():
                found += tree(int(child))
    return found


def ended(out: Path) -> list[str]:
    """Commands of the chain that have left what they leave: 'sft', 'sft, evaluated', ..."""
    done = []
    for stage in STAGES:
        done += [stage] if (out / stage / "checkpoints" / "4").is_dir() else []
        done += [f"{stage}, evaluated"] if (out / stage / "evaluation.json").exists() else []
    return done


def kill_once(configs: Path, out: Path, environment: dict[str, str], moments: random.Random) -> str:
    """Start the chain and kill it; returns where it was. It is killed behind a random number of the commands that are left."""
    before = len(ended(out))
    behind, delay = before + moments.randrange(0, max(1, 2 * len(STAGES) - before)), moments.uniform(1, 30)
    process = pipeline(configs, out, environment)
    while process.poll() is None and len(ended(out)) < behind:
        time.sleep(0.1)
    deadline = time.monotonic() + delay
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    if process.poll() is not None:
        return f"not killed, it had ended with {process.returncode}"
    for pid in tree(process.pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()
    done = ended(out)
    return f"killed {delay:.0f} s after {'the start' if behind == before else ended(out)[behind - 1] if behind <= len(done) else '?'}; {len(done)} of 8 commands had ended"


def whole(configs: Path, out: Path, environment: dict[str, str]) -> float:
    """Run the chain to its end; returns its seconds."""
    began = time.monotonic()
    if code := pipeline(configs, out, environment).wait():
        raise SystemExit(f"the chain ended with {code}: {out.with_suffix('.log').read_text()[-2000:]}")
    return time.monotonic() - began


def differences(out: Path, other: Path) -> list[str]:
    wrong = []
    for stage in STAGES:
        try:
            assert_same(content(out / stage), content(other / stage))
            one, two = (RunDirectory.existing(place / stage).read_evaluation() for place in (out, other))
            assert one.results == two.results
        except AssertionError as error:
            wrong.append(f"{stage}: {str(error)[:300]}")
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--kills", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        work = Path(place)
        sizes = ["--train=24", "--validation=1", "--test=6", "--workers=2", f"--out={work / 'data'}"]
        if prepare.main(["chart_world", *sizes]) or prepare.main(["chart_world_corrections", *sizes]):
            return 2
        (work / "configs").mkdir()
        for name in CONFIGS:
            (work / "configs" / f"{name}.py").write_text(SMALLER.format(file=str(Path("configs/tiny", f"{name}.py").absolute())))
        environment = os.environ | {
            "DATA": str(work / "data"), "JAX_COMPILATION_CACHE_DIR": str(work / "compilations"), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.2",
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }
        seconds = whole(work / "configs", work / "whole", environment)
        print(f"without a stop: {seconds:.0f} s", flush=True)
        moments = random.Random(options.seed)
        for _ in range(options.kills):
            print(kill_once(work / "configs", work / "killed", environment, moments), flush=True)
        last = whole(work / "configs", work / "killed", environment)
        wrong = differences(work / "killed", work / "whole")
        print(json.dumps({"seconds": round(seconds), "last_start_seconds": round(last), "kills": options.kills, "stages": len(STAGES), "wrong": wrong}))
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
