"""Promises of the benchmark door: the keys it prints, numbers that fit together, one sentence for bad input."""

import json

import numpy as np
import pytest

from recoder_jax.bench import __main__ as door
from recoder_jax.bench import importing, rewards
from recoder_jax.bench.memory import Peak
from recoder_jax.bench.programs import PROGRAMS
from recoder_jax.bench.ways import Failed, Floor

LINE = "import matplotlib.pyplot as plt\nplt.figure(figsize=(2, 2))\nplt.plot([1, 2], color='red')\nplt.title('t')\n"
MODE = {"seconds", "executions_per_second", "pairs_per_second_cached", "pairs_per_second_uncached", "ratio_to_floor",
        "median_ratio_to_floor", "speedup_over_cold", "pairs_over_chartmimic_cached", "pairs_over_chartmimic_uncached",
        "shares"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("programs")
    (made / "line.py").write_text(LINE)
    (made / "saved.py").write_text(LINE + "plt.savefig('x.png')\n")
    (made / "broken.py").write_text("raise ValueError('no chart')\n")
    return made


@pytest.fixture(scope="module")
def printed(folder):
    """What a small run prints as JSON."""
    from contextlib import redirect_stdout
    from io import StringIO
    with redirect_stdout(StringIO()) as out:
        assert door.main(["rewards", "--programs", str(folder), "--workers", "2", "--rounds", "1",
                          "--isolation", "forced", "--json"]) == 0
    return json.loads(out.getvalue())


def test_a_small_run_gives_the_keys(printed):
    assert printed["programs"] == 2 and printed["rounds"] == 1 and printed["subject"] == "rewards"
    assert {"processor", "cores", "load", "date", "versions"} <= set(printed["machine"])
    assert [run["workers"] for run in printed["runs"]] == [2]
    for run in printed["runs"]:
        assert set(run["replay"]) == set(rewards.REPLAYS)
        assert all(set(mode) == MODE for mode in run["replay"].values())


def test_numbers_are_positive_and_fit_together(printed):
    for run in printed["runs"]:
        assert run["floor_seconds"] > 0 and run["cold_seconds"] > run["floor_seconds"]
        for name, mode in run["replay"].items():
            assert all(mode[key] > 0 for key in MODE - {"shares"})
            assert mode["executions_per_second"] == pytest.approx(run["workers"] / mode["seconds"])
            assert mode["ratio_to_floor"] == pytest.approx(mode["seconds"] / run["floor_seconds"])
            assert mode["speedup_over_cold"] == pytest.approx(run["cold_seconds"] / mode["seconds"])
            assert mode["pairs_per_second_cached"] < mode["executions_per_second"]
            assert sum(mode["shares"].values()) == pytest.approx(1) and min(mode["shares"].values()) >= 0
            assert (mode["shares"]["replay"] > 0) == (name == "required")


def test_programs_that_fail_are_named_and_left_out(printed):
    assert list(printed["left_out"]) == ["broken.py"] and "no chart" in printed["left_out"]["broken.py"]


def test_without_json_a_table_is_printed(printed):
    text = rewards.table(printed)
    assert text.count("\n| 2 | ") == 4
    assert "2 workers, replay required: fork_and_walls" in text and "left out: broken.py" in text


@pytest.mark.parametrize("arguments, sentence", [
    (["--programs", "/nowhere"], "/nowhere is not a directory"),
    (["--workers", "0"], "--workers is 0; give at least 1"),
    (["--rounds", "0"], "--rounds is 0; give at least 1"),
    (["--limit", "0"], "--limit is 0; give at least 1"),
])
def test_bad_input_ends_with_2_and_a_sentence(arguments, sentence, capsys):
    assert door.main(["rewards", *arguments]) == 2
    said = capsys.readouterr().err
    assert sentence in said and said.count("\n") == 1


def test_a_folder_without_programs_is_bad_input(tmp_path, capsys):
    assert door.main(["rewards", "--programs", str(tmp_path)]) == 2
    assert "holds no file whose name ends in .py" in capsys.readouterr().err


def test_the_floor_says_why_a_program_fails():
    with Floor(1) as floor:
        assert floor.run(LINE) > 0
        with pytest.raises(Failed, match="ZeroDivisionError"):
            floor.run("1 / 0")
        with pytest.raises(Failed, match="without a figure"):
            floor.run("pass")


def test_own_programs_run_and_differ(sandbox):
    executions = dict(zip(PROGRAMS, sandbox.execute_all(list(PROGRAMS.values())), strict=True))
    assert {name: execution.log for name, execution in executions.items() if not execution.ok} == {}
    assert len({execution.elements for execution in executions.values()}) == len(PROGRAMS) >= 28


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    from tests import synthetic_checkpoint, test_huggingface
    made = tmp_path_factory.mktemp("checkpoint") / "hf"
    synthetic_checkpoint.write(made, test_huggingface.small_config(), shard_bytes=30_000)
    return made


def test_an_import_is_measured_on_as_many_devices_as_asked_for(checkpoint, capsys):
    arguments = ["import", "--checkpoint", str(checkpoint), "--devices", "8", "--data", "2", "--fsdp", "2", "--tensor", "2"]
    assert door.main([*arguments, "--json"]) == 0
    said = capsys.readouterr()
    result = json.loads(said.out)
    sizes = [file.stat().st_size for file in checkpoint.glob("*.safetensors")]
    assert result["devices"] == 8 and result["platform"] == "cpu"
    assert result["mesh"].items() >= {"data": 2, "fsdp": 2, "tensor": 2}.items()
    assert result["checkpoint_bytes"] == sum(sizes) > 2 * result["parameters"]
    assert 4 * result["parameters"] < result["array_bytes"] < 16 * result["parameters"]     # two replicas, and small wholes
    # the largest part is half of the patch embedding: 3 * 2 * 14 * 14 values to 32, two bytes each
    assert result["largest_shard_bytes"] == max(sizes) and result["largest_slice_bytes"] == 1176 * 16 * 2
    assert result["bound_bytes"] == result["largest_shard_bytes"] + result["largest_slice_bytes"]
    assert 0 < result["overhead_bytes"] <= result["allocated_bytes"] + result["mapped_bytes"]
    assert result["overhead_bytes"] < result["resident_bytes"] and result["samples"] > 0 and result["seconds"] > 0
    assert "weight 33 of 33" in said.err
    text = importing.table(result)
    assert "onto 8 cpu devices (data=2, fsdp=2, tensor=2" in text and "| largest slice | 0.000 |" in text


@pytest.mark.parametrize("arguments, sentence", [
    (["--devices", "0"], "--devices is 0; give at least 1"),
    (["--devices", "8", "--fsdp", "3"], "does not cover 8 devices"),
    (["--checkpoint", "/nowhere"], "/nowhere/config.json does not exist"),
])
def test_an_import_that_cannot_be_measured_ends_with_2_and_a_sentence(checkpoint, arguments, sentence, capsys):
    assert door.main(["import", "--checkpoint", str(checkpoint), *arguments]) == 2
    assert sentence in capsys.readouterr().err.splitlines()[-1]


def test_memory_that_is_held_does_not_count():
    size = 1 << 26
    for held in (0, size):
        with Peak() as peak:
            peak.hold(held)
            array = np.ones(size, np.uint8)
        assert abs(peak.allocated - (size - held)) < size // 4, (held, peak.allocated)
        del array


def test_a_look_is_measured_in_place_of_programs(capsys, monkeypatch):
    for arguments, words in ((["--look-side", "30"], "--look-side is 30; give a multiple of 14"), (["--look-views", "0"], "--look-views is 0")):
        assert door.main(["rewards", "--look", *arguments]) == 2 and words in capsys.readouterr().err
    look = {"model": "dinov2-small", "dtype": "float32", "weight_bytes": 1, "device": "cpu", "views": 4, "side": 448, "seconds_per_view": 2.0, "views_per_second": 0.5,
            "flops_per_second": 1e9, "first_seconds": 3.0}
    asked = []
    monkeypatch.setattr(rewards, "measure_look", lambda *arguments: asked.append(arguments) or look)
    monkeypatch.setattr(rewards, "Floor", None)      # of programs
    assert door.main(["rewards", "--look", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert set(printed) == {"subject", "machine", "rounds", "look"} and printed["look"] == look and asked == [("dinov2-small", "float32", 448, 4, 16, 3)]
    assert "dinov2-small in float32" in rewards.table(printed) and "median of 3 rounds" in rewards.table(printed)


@pytest.mark.parametrize("arguments, sentence", [
    (["--group", "0"], "--group is 0; give at least 1"),
    (["--rows", "8,12", "--group", "8"], "--rows has 12, no multiple of --group, which is 8; change one"),
])
def test_groups_that_do_not_fill_the_rows_are_bad_input(arguments, sentence, capsys):
    assert door.main(["decode", "--config", "configs/tiny/sft.py", *arguments]) == 2
    said = capsys.readouterr().err
    assert sentence in said and said.count("\n") == 1


def test_rows_that_share_a_prompt_read_it_once(capsys, monkeypatch):
    from recoder_jax.bench import sampled

    asked, run = [], sampled.run_to_end
    monkeypatch.setattr(sampled, "run_to_end", lambda policy, room, requests, *more: asked.append(requests) or run(policy, room, requests, *more))
    arguments = ["--rows", "4", "--group", "2", "--new", "2", "--prompt", "8", "--chunk", "1", "--repeats", "1", "--json"]
    assert door.main(["decode", "--config", "configs/tiny/sft.py", *arguments]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["group"] == 2 and [row["rows"] for row in said["rows"]] == [4] and said["rows"][0]["whole"] > 0
    assert all([request.rows for request in requests] == [2, 2] for requests in asked)
