"""A run of several processes: the same numbers as one process, one checkpoint, and an end for all when one ends."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from recoder_jax import factory, liveness, processes, train
from recoder_jax.configuration import load
from recoder_jax.learning.batch import Shape, counts_of, layout, pack, token_weights
from recoder_jax.learning.reference import save_reference
from recoder_jax.sharding import by_process
from tests.test_learning import group_of
from tests.test_train import SMALL_RL, command, content, environment, run_to_end  # noqa: F401  (a fixture)

# An untrained policy earns nothing. Here its reward is how near it stays to a reference of another seed, which `far` puts into the run.
FAR = [*SMALL_RL, "--config.objective.kl_in=reward", "--config.optimizer.learning_rate=0.01", "--config.optimizer.warmup=0"]
ENDLESS = [*FAR, "--config.steps=100", "--config.checkpoint.keep=9", "--config.mesh.fsdp=2", "--config.batch.rows=2"]


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def start(config, run, world, extra, environment):  # noqa: F811
    """Two processes of a run on loopback."""
    address = f"--coordinator=127.0.0.1:{free_port()}"
    commands = [[*command(config, run, world, extra), address, "--processes=2", f"--process={number}"] for number in range(2)]
    return [subprocess.Popen(one, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for one in commands]


def far(run: Path) -> Path:
    """The run directory, with a policy of another seed as the run's reference."""
    config = load("configs/tiny/score_stage1.py", ["--config.seed=77"])
    mesh = factory.one_device()
    save_reference(run, factory.initial_params(config, factory.policy_of(config), mesh))
    return run


def end_one(both, run: Path, lines: int, number: int) -> str:
    """Send a signal to the second of two processes as soon as metrics.jsonl holds `lines` lines. What the first one says until it ends."""
    metrics, deadline = run / "metrics.jsonl", time.monotonic() + 400
    while not (metrics.exists() and metrics.read_bytes().count(b"\n") >= lines):
        assert all(one.poll() is None for one in both) and time.monotonic() < deadline, both[0].communicate()[1][-2000:]
        time.sleep(0.05)
    os.kill(both[1].pid, number)
    said = both[0].communicate(timeout=100)[1]
    both[1].communicate(timeout=100)
    return said


@pytest.fixture(scope="module")
def two(world, environment, tmp_path_factory):  # noqa: F811
    """A run of two processes with a reference, which they hold together, until the second is told to end after two steps or more; their exit
    codes, and what the first one said."""
    run = far(tmp_path_factory.mktemp("two") / "run")
    both = start("score_stage1", run, world, ENDLESS, environment)
    said = end_one(both, run, 2, signal.SIGTERM)
    return run, (both[0].returncode, both[1].returncode), said


def newest(run: Path) -> int:
    return max(int(path.name) for path in (run / "checkpoints").glob("[0-9]*"))


def test_all_end_when_one_is_told_to(two):
    run, codes, said = two
    assert codes == (75, 75) and "another process was told to" in said, said[-3000:]
    assert newest(run) == len((run / "metrics.jsonl").read_text().splitlines()) >= 2


def test_two_processes_learn_what_one_learns(two, world, tmp_path):
    run, one = two[0], far(tmp_path / "one")
    run_to_end(command("score_stage1", one, world, [*FAR, "--config.steps=2", "--config.batch.rows=2"]))
    got, expected = content(run, 2), content(one, 2)
    for row, other in zip(got[0], expected[0], strict=True):
        assert row.keys() == other.keys()
        for name, value in row.items():
            assert value == pytest.approx(other[name], rel=1e-3, abs=1e-4), name
    assert expected[0][0]["advantage/std"] > 0.5 and expected[0][1]["loss/kl"] > 1e-4
    told = [sorted(json.loads(line)["chart"] for line in (run / "rollouts" / "step_000001.jsonl").read_text().splitlines()) for run in (one, run)]
    assert told[0] == told[1] and len(told[0]) == 8
    for a, b in zip(got[2], expected[2], strict=True):
        np.testing.assert_allclose(a, b, atol=1e-2)  # two updates of 0.01; Adam moves a weight with next to no gradient as rounding says
        assert np.abs(a - b).mean() < 1e-4


def test_a_run_goes_on_and_all_end_when_one_dies(two, world, environment, tmp_path):  # noqa: F811
    run = tmp_path / "run"
    subprocess.run(["cp", "-r", str(two[0]), str(run)], check=True)
    done = newest(run)
    both = start("score_stage1", run, world, ENDLESS, environment)
    said = end_one(both, run, done + 1, signal.SIGKILL)
    assert (both[0].returncode, both[1].returncode) == (75, -9), said[-3000:]
    assert f"process 1 (pid {both[1].pid} on {socket.gethostname()}) is gone" in said
    rows = [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert rows == list(range(1, len(rows) + 1)) and newest(run) >= done


def test_rows_of_two_processes_are_the_rows_of_one(policy):
    """Packed apart in sizes they agree on, with common counts, images behind those of the process before: the batch of all trees."""
    trees = [group_of(policy.encoder, seed) for seed in range(4)]
    size, image_id = max(tree.size for tree in trees), policy.config.image_id
    counts = counts_of(trees[:2]) + counts_of(trees[2:])
    assert counts == counts_of(trees)
    halves = [layout(part, Shape(1, 2, size, least_images=4)) for part in (trees[:2], trees[2:])]
    sizes = tuple(map(max, *(half.sizes for half in halves)))
    own = [
        pack(part, token_weights(part, "token_mean", counts=counts), Shape(1, 2, size, least_images=4), image_id, half.grown(sizes), process)
        for process, (part, half) in enumerate(zip((trees[:2], trees[2:]), halves, strict=True))
    ]
    whole = {name: np.concatenate([getattr(one, name) for one in own], axis=1) for name in ("tokens", "weight", "image_slot", "target")}
    assert whole["weight"].sum() == pytest.approx(1) and sorted(map(tuple, whole["tokens"][0])) == sorted(
        map(tuple, pack(trees, token_weights(trees, "token_mean"), Shape(1, 4, size), image_id).tokens[0])
    )
    slots = whole["image_slot"][0]
    first, second = slots[:2][slots[:2] >= 0], slots[2:][slots[2:] >= 0]
    assert first.max() < sizes[2] * sizes[3] * 16 <= second.min()


class Device:
    def __init__(self, process, number=0):
        self.process_index, self.id = process, number


def test_a_mesh_lays_the_rows_of_a_process_together_and_splits_none():
    apart = np.array([Device(process) for process in (1, 1, 0, 0, 1, 1, 0, 0)], object).reshape(2, 2, 2, 1)
    assert [device.process_index for device in by_process(apart).flat] == [0, 0, 0, 0, 1, 1, 1, 1]
    crossing = np.array([Device(process, number) for number, process in enumerate((0, 1, 0, 1))], object).reshape(1, 2, 2, 1)
    laid = by_process(crossing)
    assert laid.shape == crossing.shape and [(device.process_index, device.id) for device in laid.flat] == [(0, 0), (0, 2), (1, 1), (1, 3)]
    shared = np.array([Device(process) for process in (0, 1)], object).reshape(1, 1, 2, 1)
    with pytest.raises(ValueError, match="lie over processes 0 and 1"):
        by_process(shared)


@pytest.mark.parametrize(("arguments", "words"), [
    (["--coordinator=here:1"], "give all three"), (["--processes=2"], "give all three"), (["--coordinator=auto", "--process=1"], "leave them out"),
    (["--coordinator=here:1", "--processes=2", "--process=2"], "process 2 of 2"), (["--coordinator=here", "--processes=2", "--process=0"], "HOST:PORT"),
])
def test_processes_that_cannot_be_joined_are_refused(arguments, words, tmp_path, capsys):
    assert train.main(["--config=configs/tiny/sft.py", f"--workdir={tmp_path / 'run'}", *arguments]) == 2
    assert words in capsys.readouterr().err and not (tmp_path / "run").exists()


def test_one_process_agrees_with_itself():
    assert processes.agreed(True) and not processes.agreed(False) and processes.gathered({"a": 1.5}) == [{"a": 1.5}]


@pytest.mark.parametrize(("told", "later", "found"), [
    ({"beat": 5, "end": ""}, 1, None), ({"beat": 5, "end": ""}, 40, (75, "was not heard of for 30 s")), ({"beat": -1, "end": ""}, 40, None),
    ({"beat": -1, "end": "ValueError: no data"}, 1, (1, "failed (ValueError: no data)")), ({"beat": 5, "end": "", "pid": 2**22 + 1}, 1, (75, "is gone")),
])
def test_a_process_is_alive_silent_done_failed_or_gone(told, later, found, tmp_path):
    file = tmp_path / "1.json"
    file.write_text(json.dumps({"beat": 3, "host": socket.gethostname(), "pid": 2**22 + 1, "end": "KeyError: of an earlier run"}))
    other = liveness.Other(file, 1)
    assert other.look(0.0) is None  # what an earlier run left
    file.write_text(json.dumps({"host": socket.gethostname(), "pid": os.getpid(), **told}))
    first = other.look(1.0)
    answer = other.look(1.0 + later) or first
    assert answer is None if found is None else (answer[0] == found[0] and found[1] in answer[1])


def test_a_process_that_fails_tells_the_others_why_and_then_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(liveness, "BEAT", 0.02)
    ends = []
    with contextlib.suppress(ValueError), liveness.Liveness(tmp_path, 0, 2, lambda *end: ends.append(end)):
        other = liveness.Other(tmp_path / "processes" / "0.json", 0)
        other.look(0.0)
        raise ValueError("no data")
    assert ends == [(2, "no data")] and other.look(1.0) == (1, "process 0 failed (ValueError: no data), so this one ends too")
