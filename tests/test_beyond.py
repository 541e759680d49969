"""The recipes of configs/beyond start, make two steps, and leave what makes each of them different."""

import dataclasses
import json
import shutil

import pytest

from recoder_jax import correct, evaluate, factory, train
from recoder_jax.configuration import load
from recoder_jax.models.qwen2_5_vl.config import preset
from recoder_jax.rollout.lessons import SupervisedLessons
from recoder_jax.rollout.play import Player
from recoder_jax.runs.directory import RunDirectory

SMALL = [
    "--config.batch.rows=4", "--config.batch.least_windows=1", "--config.image.max_pixels=12544", "--config.sandbox.workers=1", "--config.model.unroll=1",
    "--config.steps=2",
]
SMALL_RL = [
    *SMALL, "--config.batch.rows=2", "--config.batch.row_tokens=512", "--config.batch.size=3", "--config.batch.micro_batches=1", "--config.batch.least_trained=64",
    "--config.batch.least_images=16", "--config.rollout.charts=3", "--config.rollout.group=2", "--config.rollout.chunk=12",
    "--config.rollout.response_tokens=12", "--config.log.rollouts_every=1",
]


@pytest.fixture(autouse=True)
def small_policy(monkeypatch):
    """The tiny policy with one block of each kind."""

    def small(*arguments, **changes):
        sizes = preset(*arguments, **changes)
        vision = dataclasses.replace(sizes.vision, depth=2, full_attention=(1,))
        return dataclasses.replace(sizes, vision=vision, text=dataclasses.replace(sizes.text, layers=1))

    monkeypatch.setattr(factory, "preset", small)


def trained(config, run, world, extra):
    assert train.main([f"--config=configs/beyond/{config}", f"--workdir={run}", f"--config.data.dir={world}", *extra]) == 0
    metrics = RunDirectory.existing(run).read_metrics()
    assert len(metrics) == 2 and all(row["batch/trained_tokens"] > 0 for row in metrics)
    return RunDirectory.existing(run)


def branch_turns(run):
    """Of the charts of each step; turns before it are shared and carry no advantage, the others one."""
    found = []
    for step in (1, 2):
        records = run.read_rollouts(step)
        for record in records:
            assert [turn.shared for turn in record.turns] == [turn.turn < record.branch_turn for turn in record.turns]
            assert [turn.advantage is None for turn in record.turns] == [turn.shared for turn in record.turns]
        found.append([record.branch_turn for record in records[::2]])
    return found


def test_three_turns_and_branching_at_each_of_them(world, tmp_path, capsys):
    run = trained("three_turns.py", tmp_path / "three", world, SMALL_RL)
    assert branch_turns(run) == [[2, 2, 2]] * 2 and all("turn3/executed" in row for row in run.read_metrics())
    each = [*SMALL_RL, "--config.batch.size=4"]
    run = trained("branch_each.py", tmp_path / "each", world, each)
    assert branch_turns(run) == [[1, 2, 3, 1], [2, 3, 1, 2]]
    again = ["--config=configs/beyond/branch_each.py", f"--workdir={tmp_path / 'each'}", f"--config.data.dir={world}", *each]
    assert train.main([*again, "--config.steps=3", "--config.rollout.branching=one"]) == 2
    assert "started with rollout.branching = 'each'" in capsys.readouterr().err


def test_differences_reach_corrections_rollouts_evaluation_and_the_door(world, tmp_path, capsys, monkeypatch):
    first, second = tmp_path / "corrections", tmp_path / "rl"
    config = load("configs/beyond/difference_feedback.py", [f"--config.data.dir={world}", "--config.data.mixed_with=chart_world:train[:8]"])
    trees = SupervisedLessons(config, factory.policy_of(config).encoder)(None, 0, 0).trees
    assert {len(tree.prefix.images) for tree in trees} >= {1, 3} and max(tree.size for tree in trees) <= config.batch.row_tokens
    trained("difference_feedback.py", first, world, [*SMALL, "--config.batch.size=4", "--config.data.mixed_with=chart_world:train[:8]"])
    trained("difference_feedback.py:rl", second, world, [*SMALL_RL, f"--config.init={first}"])

    def noted(player, params, charts, plan, *others, **more):
        raise ValueError(f"asked for {plan.difference}, {plan.feedback_tokens}")

    small = ["--config.evaluation.charts=2", "--config.sandbox.workers=1"]
    with monkeypatch.context() as patched:
        patched.setattr(Player, "play", noted)
        assert evaluate.main(["--config=configs/tiny/evaluate.py", f"--workdir={second}", f"--config.data.dir={world}", *small]) == 2
    assert "asked for True, 208" in capsys.readouterr().err
    shutil.copy(next((second / "renders").glob("*.png")), tmp_path / "chart.png")
    door = [f"--checkpoint={second}", f"--image={tmp_path / 'chart.png'}", f"--out={tmp_path / 'out'}", "--turns=2"]
    assert correct.main(door) == 0
    assert correct.main([*door, "--feedback-tokens=32"]) == 2
    assert "a render and its difference may take 32 tokens and a feedback 32" in capsys.readouterr().err
    assert correct.main([*door, "--feedback-tokens=54"]) == 2
    assert "lower image.max_pixels, or set rollout.difference to False" in capsys.readouterr().err


def test_a_run_that_is_older_than_differences_shows_none(tmp_path):
    saved = load("configs/tiny/stage1_shared_first_turn.py").to_dict()
    del saved["rollout"]["difference"]
    (tmp_path / "config.json").write_text(json.dumps(saved))
    assert not factory.config_of_run(tmp_path, load("configs/tiny/evaluate.py")).rollout.difference


def test_rare_tokens_start(world, tmp_path):
    run = trained("rare_tokens.py", tmp_path / "rare", world, [*SMALL, "--config.batch.size=4"])
    assert all(row["loss/nll"] > 0 for row in run.read_metrics())
