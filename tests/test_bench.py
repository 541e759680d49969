"""Promises of the benchmark door: the keys it prints, numbers that fit together, one sentence for bad input."""

import json

import pytest

from recoder_jax.bench import __main__ as door
from recoder_jax.bench import rewards
from recoder_jax.bench.programs import PROGRAMS
from recoder_jax.bench.ways import Failed, Floor
from recoder_jax.charts.sandbox import Sandbox

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
        assert door.main(["rewards", "--programs", str(folder), "--workers", "1", "2", "--rounds", "1",
                          "--isolation", "forced", "--json"]) == 0
    return json.loads(out.getvalue())


def test_a_small_run_gives_the_keys(printed):
    assert printed["programs"] == 2 and printed["rounds"] == 1 and printed["subject"] == "rewards"
    assert {"processor", "cores", "load", "date", "versions"} <= set(printed["machine"])
    assert [run["workers"] for run in printed["runs"]] == [1, 2]
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
    assert text.count("\n| 1 | ") == 4 and text.count("\n| 2 | ") == 4
    assert "1 workers, replay required: fork_and_walls" in text and "left out: broken.py" in text


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


def test_own_programs_run_and_differ():
    with Sandbox(workers=2, isolation="forced") as sandbox:
        executions = dict(zip(PROGRAMS, sandbox.execute_all(list(PROGRAMS.values())), strict=True))
    assert {name: execution.log for name, execution in executions.items() if not execution.ok} == {}
    assert len({execution.elements for execution in executions.values()}) == len(PROGRAMS) >= 28
