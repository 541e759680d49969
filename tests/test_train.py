"""A run is a function of its config: killed at any moment and started again, it ends with the same bits."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from recoder_jax import correct, evaluate, factory, report, train
from recoder_jax.configuration import load
from recoder_jax.runs.directory import RunDirectory

SMALL = [
    "--config.batch.size=4", "--config.batch.rows=4", "--config.checkpoint.every=2", "--config.sandbox.workers=1", "--config.model.unroll=1",
]
SMALL_RL = [
    *SMALL[:1], "--config.batch.rows=1", *SMALL[2:], "--config.rollout.charts=4", "--config.rollout.group=2", "--config.rollout.response_tokens=24",
    "--config.batch.row_tokens=800", "--config.log.rollouts_every=1",
]


def command(config, run, world, extra):
    return [
        sys.executable, "-m", "recoder_jax.train", f"--config=configs/tiny/{config}.py", f"--workdir={run}", f"--config.data.dir={world}", *extra,
    ]


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    cache = str(tmp_path_factory.mktemp("compilations"))
    return os.environ | {"JAX_COMPILATION_CACHE_DIR": cache, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.5"}


def run_to_end(arguments, environment):
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr[-2000:]


def kill_after(arguments, environment, run, lines):
    """Start a training and kill it as soon as metrics.jsonl holds `lines` lines."""
    process = subprocess.Popen(arguments, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    metrics, deadline = Path(run) / "metrics.jsonl", time.monotonic() + 400
    while not (metrics.exists() and metrics.read_bytes().count(b"\n") >= lines):
        assert process.poll() is None and time.monotonic() < deadline, "the training ended before it could be killed"
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def content(run):
    """Everything a run leaves that does not depend on the clock: metrics, dialogues, parameters."""
    lines = [json.loads(line) for line in (Path(run) / "metrics.jsonl").read_text().splitlines()]
    metrics = [{k: v for k, v in line.items() if not k.startswith(("time/", "throughput/", "process/"))} for line in lines]
    rollouts = {path.name: path.read_text() for path in sorted((Path(run) / "rollouts").glob("*.jsonl"))}
    config = factory.config_of_run(run, load("configs/tiny/evaluate.py"))
    _, params = factory.trained_policy(run, config, factory.one_device())
    return metrics, rollouts, [np.asarray(leaf) for leaf in jax.tree.leaves(params)]


@pytest.mark.parametrize(
    ("config", "extra", "steps", "kill"),
    [("sft", SMALL, 8, 5), ("stage1_shared_first_turn", SMALL_RL, 4, 3)],
    ids=["sft", "rl"],
)
def test_killed_and_resumed_training_ends_with_the_same_bits(config, extra, steps, kill, world, environment, tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    extra = [*extra, f"--config.steps={steps}"]
    run_to_end(command(config, whole, world, extra), environment)
    kill_after(command(config, broken, world, extra), environment, broken, kill)
    assert len((broken / "metrics.jsonl").read_text().splitlines()) < steps
    again = [*extra, "--config.rollout.offload=True"] if config != "sft" else extra  # which changes no bit
    run_to_end(command(config, broken, world, again), environment)
    expected, got = content(whole), content(broken)
    assert got[0] == expected[0] and len(got[0]) == steps
    assert got[1] == expected[1]
    for one, other in zip(got[2], expected[2], strict=True):
        np.testing.assert_array_equal(one, other)


def test_four_devices_learn_what_one_device_learns(world, environment, tmp_path):
    """Parameters and batch sharded over data x fsdp, moments beside their parameters, resumed on another number of devices."""
    one, four = tmp_path / "one", tmp_path / "four"
    steps = ["--config.steps=3", "--config.checkpoint.every=2"]
    run_to_end(command("sft", one, world, [*SMALL, *steps]), environment)
    many = environment | {"XLA_FLAGS": "--xla_force_host_platform_device_count=4"}
    run_to_end(command("sft", four, world, [*SMALL, *steps, "--config.mesh.data=2", "--config.mesh.fsdp=2"]), many)
    expected, got = content(one), content(four)
    for row, other in zip(expected[0], got[0], strict=True):
        assert other["loss/nll"] == pytest.approx(row["loss/nll"], rel=1e-4)
    run_to_end(command("sft", four, world, [*SMALL, "--config.steps=4"]), environment)
    assert len(content(four)[0]) == 4


def test_a_run_is_not_continued_under_another_config(world, tmp_path, capsys):
    run = tmp_path / "run"
    common = ["--config=configs/tiny/sft.py", f"--workdir={run}", f"--config.data.dir={world}", *SMALL, "--config.steps=1"]
    assert train.main(common) == 0
    assert train.main(common) == 0 and "done already" in capsys.readouterr().out
    assert train.main([*common, "--config.optimizer.learning_rate=0.1"]) == 2
    assert "started with optimizer.learning_rate = 0.002" in capsys.readouterr().err
    assert train.main([*common[:1], f"--workdir={tmp_path / 'other'}", *common[2:], "--config.init=nowhere"]) == 2
    assert "'nowhere' holds no finished checkpoint" in capsys.readouterr().err


def test_chain_of_stages_evaluation_and_correction(world, tmp_path, capsys):
    """Corrections, stage 2 from them, evaluation over three turns, correction of a picture: every door on the road."""
    first, second = tmp_path / "corrections", tmp_path / "stage2"
    common = [f"--config.data.dir={world}", *SMALL, "--config.steps=2", "--config.data.mixed_with=chart_world:train[:8]"]
    assert train.main(["--config=configs/tiny/sft_corrections.py", f"--workdir={first}", *common]) == 0
    rl = [f"--config.data.dir={world}", *SMALL_RL, "--config.steps=1", f"--config.init={first}"]
    assert train.main(["--config=configs/tiny/stage2_full_trajectory.py", f"--workdir={second}", *rl]) == 0
    row = RunDirectory.existing(second).read_metrics()[0]
    assert {"reward/total", "reward/format", "reward/rule", "turn1/executed", "turn2/low_level", "sampling/logprob_gap"} <= row.keys()
    assert row["sampling/logprob_gap"] < 1e-4
    records = RunDirectory.existing(second).read_rollouts(1)
    assert len(records) == 8 and all(not turn.shared for record in records for turn in record.turns)

    small = [
        f"--config.data.dir={world}", "--config.evaluation.charts=6", "--config.evaluation.batch=4", "--config.evaluation.turns=3",
        "--config.rollout.response_tokens=16", "--config.sandbox.workers=1",
    ]
    assert evaluate.main(["--config=configs/tiny/evaluate.py", f"--workdir={second}", *small]) == 0
    evaluation = RunDirectory.existing(second).read_evaluation()
    assert evaluation.charts == 6 and len(evaluation.turns) == 3 and evaluation.name == "RL stage 2"
    capsys.readouterr()
    assert evaluate.main(["--config=configs/tiny/evaluate.py", f"--workdir={second}", *small]) == 0
    assert "evaluated already" in capsys.readouterr().out

    picture = next((second / "renders").glob("*.png"))
    shutil.copy(picture, tmp_path / "chart.png")
    out = tmp_path / "corrected"
    arguments = [f"--checkpoint={second}", f"--image={tmp_path / 'chart.png'}", f"--out={out}", "--turns=2", "--response-tokens=16"]
    assert correct.main(arguments) == 0
    assert {"target.png", "turn_1.py", "turn_2.py", "dialogue.html"} <= {path.name for path in out.iterdir()}


def test_first_steps_of_msrl_play_one_turn_and_the_visual_part_joins_after_the_first_step_of_a_ramp(world, environment, tmp_path):
    """A run of the tiny recipe with textual rewards, and one with a ramp that starts from it; the other two recipes differ in weights."""
    first, ramp = tmp_path / "msrl_stage1", tmp_path / "msrl_ramp"
    run_to_end(command("msrl_stage1", first, world, [*SMALL_RL, "--config.steps=1"]), environment)
    run_to_end(command("msrl_ramp", ramp, world, [*SMALL_RL, "--config.steps=2", f"--config.init={first}"]), environment)
    rows = [RunDirectory.existing(run).read_metrics() for run in (first, ramp)]
    assert [["reward/similarity" in row for row in run] for run in rows] == [[False], [False, True]]
    for row in (*rows[0], *rows[1]):
        assert {"reward/textual", "reward/executed", "textual/texts", "turn1/executed", "sampling/logprob_gap"} <= row.keys()
        assert not [name for name in row if name.startswith(("turn2/", "correction/"))]
    records = RunDirectory.existing(ramp).read_rollouts(1)
    assert len(records) == 8 and all(len(record.turns) == 1 and "textual" in record.turns[0].parts for record in records)
    assert report.main([str(first), str(ramp), f"--out={tmp_path / 'compared.html'}"]) == 0
    assert "reward/textual" in (tmp_path / "compared.html").read_text()
