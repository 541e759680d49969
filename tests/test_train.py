"""A run is a function of its config: killed at any moment and started again, on its disk or from its copy, it ends with the same bits."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from recoder_jax import correct, evaluate, factory, report, train
from recoder_jax.configuration import load
from recoder_jax.runs.directory import RunDirectory
from recoder_jax.stopping import StopRequest

SMALL = [
    "--config.batch.size=4", "--config.batch.rows=4", "--config.batch.least_windows=1", "--config.image.max_pixels=12544", "--config.checkpoint.every=2",
    "--config.sandbox.workers=1", "--config.model.unroll=1",
]
SFT_STEPS, RL_STEPS = 7, 3
SMALL_RL = [
    *SMALL, "--config.batch.rows=1", "--config.batch.row_tokens=640", "--config.batch.micro_batches=1", "--config.batch.least_trained=128",
    "--config.batch.least_images=8", "--config.rollout.charts=4", "--config.rollout.group=2", "--config.rollout.response_tokens=24",
    "--config.log.rollouts_every=1",
]


def command(config, run, world, extra):
    return [
        sys.executable, "-m", "recoder_jax.train", f"--config=configs/tiny/{config}.py", f"--workdir={run}", f"--config.data.dir={world}", *extra,
    ]


@pytest.fixture(scope="module")
def environment():
    return dict(os.environ)


def run_to_end(arguments):
    """A training in this process."""
    assert train.main(arguments[3:]) == 0


def kill_after(arguments, environment, run, lines, number=signal.SIGKILL):
    """Start a training and send it a signal as soon as metrics.jsonl holds `lines` lines. Returns its exit code and what it said on stderr."""
    process = subprocess.Popen(arguments, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True)
    metrics, deadline = Path(run) / "metrics.jsonl", time.monotonic() + 400
    while not (metrics.exists() and metrics.read_bytes().count(b"\n") >= lines):
        assert process.poll() is None and time.monotonic() < deadline, "the training ended before it could be killed"
        time.sleep(0.02)
    os.killpg(process.pid, number)
    said = process.communicate(timeout=100)[1]
    return process.returncode, said


def tell_after(run, lines, number):
    """Send this process a signal as soon as metrics.jsonl of a training in it holds `lines` lines."""
    metrics = Path(run) / "metrics.jsonl"

    def wait():
        deadline = time.monotonic() + 400
        while time.monotonic() < deadline:
            if metrics.exists() and metrics.read_bytes().count(b"\n") >= lines:
                return os.kill(os.getpid(), number)
            time.sleep(0.02)

    threading.Thread(target=wait, daemon=True).start()


def content(run, steps=None):
    """Everything a run leaves that does not depend on the clock: metrics, dialogues, parameters. steps: metrics and parameters of so many only."""
    lines = [json.loads(line) for line in (Path(run) / "metrics.jsonl").read_text().splitlines()][:steps]
    metrics = [{k: v for k, v in line.items() if not k.startswith(("time/", "throughput/", "process/"))} for line in lines]
    rollouts = {path.name: path.read_text() for path in sorted((Path(run) / "rollouts").glob("*.jsonl"))}
    config = factory.config_of_run(run, load("configs/tiny/evaluate.py"))
    _, params = factory.trained_policy(f"{run}@{steps}" if steps else run, config, factory.one_device())
    return metrics, rollouts, [np.asarray(leaf) for leaf in jax.tree.leaves(params)]


def assert_same(got, expected):
    """What `content` gave for two runs."""
    assert got[:2] == expected[:2]
    for one, other in zip(got[2], expected[2], strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.fixture(scope="module")
def whole_sft(world, tmp_path_factory) -> Path:
    """A run of SFT that was never stopped."""
    run = tmp_path_factory.mktemp("whole") / "sft"
    run_to_end(command("sft", run, world, [*SMALL, f"--config.steps={SFT_STEPS}"]))
    return run


@pytest.fixture(scope="module")
def whole_rl(world, tmp_path_factory) -> Path:
    """A run of RL that was never stopped."""
    run = tmp_path_factory.mktemp("whole") / "rl"
    run_to_end(command("stage1_shared_first_turn", run, world, [*SMALL_RL, f"--config.steps={RL_STEPS}"]))
    return run


@pytest.mark.parametrize(
    ("config", "extra", "steps", "kill"),
    [("sft", SMALL, SFT_STEPS, 5), ("stage1_shared_first_turn", [*SMALL_RL, "--config.checkpoint.every=1"], RL_STEPS, 2)],
    ids=["sft", "rl"],
)
def test_killed_and_resumed_training_ends_with_the_same_bits(config, extra, steps, kill, world, environment, tmp_path, request, capsys):
    whole, broken = request.getfixturevalue("whole_sft" if config == "sft" else "whole_rl"), tmp_path / "broken"
    extra = [*extra, f"--config.steps={steps}"]
    if config == "sft":
        extra += [f"--config.mirror=file://{tmp_path / 'store'}"]
        tell_after(broken, 2, signal.SIGTERM)
        code, said = train.main(command(config, broken, world, extra)[3:]), capsys.readouterr().err
        done = len((broken / "metrics.jsonl").read_text().splitlines())
        assert code == 75 and f"train: stopped at step {done} (SIGTERM); its checkpoint is written; the same command goes on" in said
        assert 2 <= done < kill and (broken / "checkpoints" / str(done)).is_dir()
    kill_after(command(config, broken, world, extra), environment, broken, kill)
    assert len((broken / "metrics.jsonl").read_text().splitlines()) < steps
    if config == "sft":
        shutil.rmtree(broken)  # its copy stands
    again = [*extra, "--config.rollout.offload=True"] if config != "sft" else extra  # which changes no bit
    run_to_end(command(config, broken, world, again))
    ended = content(broken)
    assert_same(ended, content(whole))
    assert len(ended[0]) == steps


def test_four_devices_learn_what_one_device_learns(whole_sft, world, environment, tmp_path):
    """Parameters and batch sharded over data x fsdp, moments beside their parameters, resumed on another number of devices."""
    run, steps = tmp_path / "run", f"--config.steps={SFT_STEPS}"
    many = environment | {"XLA_FLAGS": f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=4"}
    kill_after(command("sft", run, world, [*SMALL, steps, "--config.mesh.data=2", "--config.mesh.fsdp=2"]), many, run, 3, signal.SIGTERM)
    on_four = len(content(run)[0])
    run_to_end(command("sft", run, world, [*SMALL, steps]))
    rows, expected = content(run)[0], content(whole_sft)[0]
    assert 3 <= on_four < SFT_STEPS == len(rows)
    assert [row["loss/nll"] for row in rows] == pytest.approx([row["loss/nll"] for row in expected], rel=1e-3)


def test_a_second_signal_ends_a_run_at_once():
    code = "import os, signal, time; from recoder_jax.stopping import StopRequest\nwith StopRequest() as told:\n    os.kill(os.getpid(), 15)\n"
    code += "    print(told.reached(3), flush=True); os.kill(os.getpid(), 2); time.sleep(60)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50)
    assert done.returncode == -signal.SIGINT and done.stdout == "SIGTERM\n"
    assert done.stderr.strip() == "SIGTERM: stops after the running step; once more ends it at once"


def test_signals_are_given_back():
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    with StopRequest() as told:
        assert signal.getsignal(signal.SIGTERM) != before[0] and told.reached(1) == ""
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


def test_a_step_that_is_not_finite_stops_the_run_is_kept_and_met_again_or_skipped(world, tmp_path, capsys):
    """A learning rate that no policy survives: the first update is finite, the loss after it is not."""
    run = tmp_path / "run"
    arguments = command("sft", run, world, [*SMALL, "--config.steps=3", "--config.checkpoint.every=9", "--config.optimizer.learning_rate=1e30"])
    assert train.main(arguments[3:]) == 1
    error = capsys.readouterr().err
    said = error.strip().splitlines()[-1]
    assert "Traceback" not in error and said.startswith("train: step 2 is not finite: the loss is ")
    kept = [(run / "faults" / f"step_000002.{ending}").read_bytes() for ending in ("json", "npz")]
    with np.load(io.BytesIO(kept[1])) as batch:
        assert {"tokens", "weight", "vision.patches"} <= set(batch.files) and batch["tokens"].dtype == np.int32
    facts = json.loads(kept[0])
    assert len(facts["charts"]) == 4 and facts["fault"].startswith("the loss is ") and facts["charts"][0] in said
    assert (run / "checkpoints" / "1").is_dir() and len(RunDirectory.existing(run).read_metrics()) == 1
    first = content(run)[2]
    run_to_end([*arguments, "--config.objective.on_nonfinite=skip"])
    assert [(run / "faults" / f"step_000002.{ending}").read_bytes() for ending in ("json", "npz")] == kept  # the same step again
    rows = RunDirectory.existing(run).read_metrics()
    assert [row.get("optimizer/skipped") for row in rows] == [None, 1.0, 1.0]
    for now, then in zip(content(run)[2], first, strict=True):
        np.testing.assert_array_equal(now, then)


def test_a_run_goes_on_from_the_checkpoint_before_a_damaged_one(whole_sft, world, tmp_path, capsys):
    run, arguments = Path(shutil.copytree(whole_sft, tmp_path / "run")), [*SMALL, f"--config.steps={SFT_STEPS}"]
    (run / "checkpoints" / str(SFT_STEPS) / "params" / "manifest.ocdbt").write_bytes(b"garbage")
    run_to_end(command("sft", run, world, arguments))
    assert f"checkpoint {SFT_STEPS} of {run} is damaged (params/manifest.ocdbt has 7 bytes instead of" in capsys.readouterr().err
    assert_same(content(run), content(whole_sft))
    for step in (6, SFT_STEPS):
        (run / "checkpoints" / str(step) / "_CHECKPOINT_METADATA").unlink()
    assert train.main(command("sft", run, world, arguments)[3:]) == 2
    error = capsys.readouterr().err.strip()
    assert f"is sound (step {SFT_STEPS}: _CHECKPOINT_METADATA" in error and "Traceback" not in error and "\n" not in error


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
    assert train.main(["--config=configs/tiny/sft_corrections.py", f"--workdir={first}", *common, "--config.profile=(2,9)"]) == 0
    rl = [f"--config.data.dir={world}", *SMALL_RL, "--config.steps=1", "--config.profile=(1,1)", f"--config.init={first}"]
    assert train.main(["--config=configs/tiny/stage2_full_trajectory.py", f"--workdir={second}", *rl]) == 0
    row = RunDirectory.existing(second).read_metrics()[0]
    assert {"reward/total", "reward/format", "reward/rule", "turn1/executed", "turn2/low_level", "sampling/logprob_gap"} <= row.keys()
    assert row["sampling/logprob_gap"] < 1e-4
    parts = [value for name, value in row.items() if name.startswith("time/spent_")]
    assert len(parts) == 6 and sum(parts) == pytest.approx(row["time/step"], rel=1e-6) and row["time/spent_rollout"] == pytest.approx(row["time/sample"])
    traces = [list((run / "profile").rglob("*.xplane.pb")) for run in (first, second)]
    assert [len(files) for files in traces] == [1, 1] and all(file.stat().st_size > 10_000 for files in traces for file in files)
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


def test_first_steps_of_msrl_play_one_turn_and_the_visual_part_joins_after_the_first_step_of_a_ramp(whole_rl, world, tmp_path):
    """A run of the tiny recipe with a ramp from textual rewards on; the other three recipes differ in weights."""
    first, ramp = whole_rl, tmp_path / "msrl_ramp"
    run_to_end(command("msrl_ramp", ramp, world, [*SMALL_RL, "--config.steps=2", f"--config.init={first}"]))
    rows = RunDirectory.existing(ramp).read_metrics()
    assert ["reward/similarity" in row for row in rows] == [False, True]
    for row in rows:
        assert {"reward/textual", "reward/executed", "textual/texts", "turn1/executed", "sampling/logprob_gap"} <= row.keys()
        assert not [name for name in row if name.startswith(("turn2/", "correction/"))]
    records = RunDirectory.existing(ramp).read_rollouts(1)
    assert len(records) == 8 and all(len(record.turns) == 1 and "textual" in record.turns[0].parts for record in records)
    assert report.main([str(first), str(ramp), f"--out={tmp_path / 'compared.html'}"]) == 0
    assert "reward/textual" in (tmp_path / "compared.html").read_text()
