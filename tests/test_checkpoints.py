"""Checkpoints: which stay, how one is named, and what is done about a damaged one."""

import dataclasses
import json
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recoder_jax.configuration import load
from recoder_jax.learning.checkpoint import Checkpoints, Position, Retention, Score, finished, restore_params, run_of, step_of
from recoder_jax.learning.step import TrainState
from recoder_jax.saving import Saver

HERE = jax.sharding.SingleDeviceSharding(jax.devices("cpu")[0])


def state_at(step: int) -> TrainState:
    """A state that tells its step from all others."""
    weights = {f"w{index}": jax.device_put(jnp.asarray(np.random.default_rng(step).normal(size=(64, 64)), jnp.float32), HERE) for index in range(2)}
    return TrainState(weights, jax.tree.map(jnp.square, weights), jnp.int32(step))


def abstract() -> TrainState:
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=HERE), state_at(0))


def write(run: Path, steps, retention: Retention = Retention(keep=9), scores=None) -> None:
    with Checkpoints(run / "checkpoints", retention) as checkpoints:
        for step in steps:
            score = Score("reward/total", "max", scores[step]) if scores and step in scores else None
            checkpoints.save(state_at(step), Position(step, 7, 10 * step, score))


def assert_is(tree, step: int) -> None:
    for one, other in zip(jax.tree.leaves(tree), jax.tree.leaves(state_at(step).params), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.fixture(scope="module")
def pristine(tmp_path_factory) -> Path:
    run = tmp_path_factory.mktemp("pristine")
    write(run, (20, 40))
    return run


@pytest.fixture
def run(pristine, tmp_path) -> Path:
    return Path(shutil.copytree(pristine, tmp_path / "run"))


def weight_file(checkpoint: Path, item: str = "params") -> Path:
    """The largest file of an item, which holds weights."""
    return max((path for path in (checkpoint / item).rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


HARMS = {
    "a weight file deleted": (lambda at: weight_file(at).unlink(), "is missing"),
    "a weight file truncated": (lambda at: weight_file(at).write_bytes(weight_file(at).read_bytes()[:1000]), "has 1000 bytes instead of"),
    "a byte of a weight changed": (lambda at: flip(weight_file(at)), "does not hold what was written"),
    "a byte of a moment changed": (lambda at: flip(weight_file(at, "optimizer")), "does not hold what was written"),
    "garbage for a position": (lambda at: (at / "position" / "metadata").write_bytes(b"\x00" * 60), "position/metadata"),
    "an item deleted": (lambda at: shutil.rmtree(at / "optimizer"), "optimizer is missing"),
    "no mark of a finished write": (lambda at: (at / "_CHECKPOINT_METADATA").unlink(), "the mark of a finished write"),
    "a garbled mark": (lambda at: (at / "_CHECKPOINT_METADATA").write_bytes(b"\xff\x00"), "the mark of a finished write"),
    "no sums": (lambda at: (at / "sums.json").unlink(), "sums.json is missing"),
    "garbled sums": (lambda at: (at / "sums.json").write_bytes(b"{"), "sums.json is unreadable"),
}


@pytest.mark.parametrize("harm", HARMS)
def test_a_damaged_checkpoint_is_named_and_moved_aside_and_the_one_before_it_used(harm, run, capsys):
    do, reason = HARMS[harm]
    do(run / "checkpoints" / "40")
    with Checkpoints(run / "checkpoints") as checkpoints:
        said = capsys.readouterr().err.strip()
        assert said.startswith(f"checkpoint 40 of {run} is damaged (") and said.endswith("); step 20 is used instead") and reason in said
        assert (run / "checkpoints" / "damaged_40").is_dir() and finished(run / "checkpoints") == [20]
        state, position = checkpoints.restore(abstract(), 7, 4)
        assert_is(state.params, 20)
        assert position == Position(20, 7, 200) and int(state.step) == 20
        checkpoints.save(state_at(40), Position(40, 7, 400))
    assert_is(restore_params(run, abstract().params), 40)


def test_damage_of_what_a_reader_does_not_read_is_none_to_it_and_readers_move_nothing(run, capsys):
    flip(weight_file(run / "checkpoints" / "40", "optimizer"))
    assert step_of(run) == 40 and capsys.readouterr().err == ""
    flip(weight_file(run / "checkpoints" / "40"))
    assert_is(restore_params(run, abstract().params), 20)
    assert "step 20 is used instead" in capsys.readouterr().err
    assert sorted(finished(run / "checkpoints")) == [20, 40]
    with pytest.raises(ValueError, match="'.*@40' is damaged"):
        restore_params(f"{run}@40", abstract().params)


def test_a_run_without_a_sound_checkpoint_is_refused_and_left_as_it_is(run):
    for step in ("20", "40"):
        flip(weight_file(run / "checkpoints" / step))
    for _ in range(2):
        with pytest.raises(ValueError, match="no checkpoint of .* is sound .step 40: .*; step 20: .*; put a copy in its place or choose a new --workdir"):
            Checkpoints(run / "checkpoints")
    assert sorted(finished(run / "checkpoints")) == [20, 40]
    shutil.rmtree(run / "checkpoints" / "20")
    (run / "checkpoints" / "40").rename(run / "checkpoints" / "damaged_40")
    with pytest.raises(ValueError, match="moved aside"):
        Checkpoints(run / "checkpoints")


def test_an_unfinished_write_is_no_checkpoint_and_its_step_can_be_written(run):
    shutil.copytree(run / "checkpoints" / "40", run / "checkpoints" / "60.orbax-checkpoint-tmp")
    write(run, (60,))
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["20", "40", "60"]
    assert_is(restore_params(run, abstract().params), 60)


def test_checkpoints_from_before_sums_and_charts_still_resume(run):
    newest = run / "checkpoints" / "40"
    (newest / "sums.json").unlink()
    (newest / "position" / "metadata").write_text(json.dumps({"step": 40, "seed": 7}))
    with Checkpoints(run / "checkpoints") as checkpoints:
        state, position = checkpoints.restore(abstract(), 7, 4)
    assert position == Position(40, 7, 160)
    assert_is(state.params, 40)


def test_another_seed_and_another_policy_are_refused_not_called_damaged(run):
    with Checkpoints(run / "checkpoints") as checkpoints:
        with pytest.raises(ValueError, match="started with seed 7, not 8"):
            checkpoints.restore(abstract(), 8, 4)
        other = {"w0": jax.ShapeDtypeStruct((64, 32), jnp.float32, sharding=HERE), "w1": abstract().params["w1"]}
        with pytest.raises(ValueError, match="does not fit this config"):
            checkpoints.restore(dataclasses.replace(abstract(), params=other), 7, 4)
    assert sorted(finished(run / "checkpoints")) == [20, 40]


@pytest.mark.parametrize(
    ("retention", "scores", "left"),
    [
        (Retention(keep=2), None, [5, 6]),
        (Retention(keep=1, every=3), None, [3, 6]),
        (Retention(keep=1), {1: 0.1, 2: 0.9, 3: 0.4, 6: 0.2}, [2, 6]),
        (Retention(keep=1), {2: 0.9, 4: 0.9, 6: 0.2}, [4, 6]),
        (Retention(keep=2, every=4), {1: 0.5, 2: 0.4}, [1, 4, 5, 6]),
    ],
)
def test_the_newest_every_nth_and_the_best_stay(retention, scores, left, tmp_path):
    write(tmp_path, range(1, 4), retention, scores)
    write(tmp_path, range(4, 7), retention, scores)  # opened again: scores are on disk
    assert sorted(finished(tmp_path / "checkpoints")) == left


def test_a_checkpoint_is_chosen_by_step_or_as_the_best(tmp_path):
    write(tmp_path, (1, 2, 3), scores={1: 0.1, 2: 0.9, 3: 0.4})
    assert [step_of(f"{tmp_path}{which}") for which in ("", "@1", "@best")] == [3, 1, 2]
    assert_is(restore_params(f"{tmp_path}@best", abstract().params), 2)
    assert run_of(f"{tmp_path}@best") == tmp_path == run_of(tmp_path)
    with pytest.raises(FileNotFoundError, match="holds no checkpoint 7; it has 1, 2, 3"):
        step_of(f"{tmp_path}@7")
    with pytest.raises(ValueError, match="asks for checkpoint 'newest'; write .*@best, .*@STEP, or .* for the newest"):
        step_of(f"{tmp_path}@newest")
    write(tmp_path / "plain", (1,))
    with pytest.raises(FileNotFoundError, match="has a score; train with --config.checkpoint.best=METRIC"):
        step_of(f"{tmp_path / 'plain'}@best")


def test_the_least_is_best_where_the_mode_says_so_and_only_scores_of_one_metric_are_compared(tmp_path):
    with Checkpoints(tmp_path / "checkpoints", Retention(keep=9)) as checkpoints:
        for step, score in ((1, Score("reward/total", "max", 0.9)), (2, Score("loss/nll", "min", 0.2)), (3, Score("loss/nll", "min", 0.4))):
            checkpoints.save(state_at(step), Position(step, 7, 0, score))
    assert step_of(f"{tmp_path}@best") == 2


class Kept:
    """Stands for the checkpoints of a run and notes what is saved."""

    def __init__(self):
        self.positions = []

    def save(self, state, position):
        self.positions.append(position)


def test_saves_come_by_step_by_time_and_when_told_with_the_mean_since_the_one_before():
    config, kept, now = load("configs/tiny/sft.py"), Kept(), [0.0]
    with config.unlocked():
        config.steps, config.checkpoint.every, config.checkpoint.minutes, config.checkpoint.best = 12, 5, 2.0, "reward/total"
    saver = Saver(config, kept, clock=lambda: now[0])
    said = {}
    for step in range(1, 13):
        now[0] += 100.0 if step in (7, 8) else 1.0
        metrics = {"reward/total": float(step)} if step < 11 else {"reward/total": float("nan")}
        said[step] = saver.after_step(None, Position(step, 0, 4 * step), metrics, told=step == 9)
    assert [(p.step, p.charts) for p in kept.positions] == [(5, 20), (8, 32), (9, 36), (10, 40), (12, 48)]
    assert [p.score and p.score.mean for p in kept.positions] == [3.0, 7.0, 9.0, 10.0, None]
    assert [step for step, sentence in said.items() if sentence] == [12] and "had the metric reward/total" in said[12]
