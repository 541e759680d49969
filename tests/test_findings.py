"""Findings: what a line says of a run, intervals over seeds, curves of stages, and the study's launcher."""

import json
import math
import os
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from recoder_jax import findings
from recoder_jax.configuration import load
from recoder_jax.validation import leaves
from recoder_jax.evaluation.arms import paired, pooled
from recoder_jax.runs.curves import curves_of, interval, read_runs
from recoder_jax.runs.directory import RunDirectory
from recoder_jax.runs.drawing import draw_curves
from recoder_jax.runs.scorecards import Interval
from tests import made_up_run

STUDY = "configs/study/strategies.py"


def a_run(path, seed, steps=4, init="", name="arm", tokens=100.0):
    run = RunDirectory(path)
    run.write_config({"name": name, "kind": "rl", "seed": seed, "init": str(init), "rollout": {"branch_turn": 1}})
    for step in range(1, steps + 1):
        run.write_metrics(step, {"reward/total": seed + step, "sampling/tokens": tokens, "time/step": 2.0})
    return run


def test_a_line_counts_the_runs_that_lead_to_its_run(tmp_path, capsys):
    for seed in (1, 2):
        a_run(tmp_path / f"arm_seed{seed}_part1", seed, steps=3)
        made_up_run.evaluate(a_run(tmp_path / f"arm_seed{seed}", seed), (0.5, 0.6), 16, seed)
    file = tmp_path / "found" / "study.jsonl"
    assert findings.main([str(file), str(tmp_path / "arm_seed1"), str(tmp_path / "arm_seed2"), "--machine=a desk"]) == 0
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert [(row["arm"], row["seed"], row["updates"], row["sampled_tokens"], row["seconds"], row["machine"]) for row in rows] == [
        ("arm", 1, 7, 700, 14, "a desk"), ("arm", 2, 7, 700, 14, "a desk")]  # fmt: skip
    assert rows[0]["config"] and set(rows[0]["measures"]["repeat_rate"]) == {"value", "low", "high"}
    assert "| arm | 2 |" in capsys.readouterr().out


@pytest.mark.parametrize("content", [None, "{", '{"arm": 1}', "3"])
def test_what_is_no_file_of_findings_is_said_in_a_sentence(content, tmp_path, capsys):
    file = tmp_path / "study.jsonl"
    if content is not None:
        file.write_text(content)
    assert findings.main([str(file)]) == 2 and str(file) in capsys.readouterr().err
    a_run(tmp_path / "run", 1)
    assert findings.main([str(file), str(tmp_path / "run")]) == 2 and "not evaluated" in capsys.readouterr().err
    made_up_run.evaluate(RunDirectory(tmp_path / "run"), (0.5, 0.6), 16, 1)
    code = findings.main([str(file), str(tmp_path / "run")])
    said = capsys.readouterr().err
    assert code == 0 if content is None else (code, file.read_text()) == (2, content) and "is no file of findings" in said
    assert said.count("\n") == (content is not None)


def test_a_run_takes_the_place_of_the_line_of_its_arm_and_seed_and_others_stay(tmp_path, capsys):
    def evaluated(name, arm, seed, score):
        made_up_run.evaluate(a_run(tmp_path / name, seed, name=arm), (score, score), 16, seed)
        return str(tmp_path / name)

    file = tmp_path / "study.jsonl"

    def told(*paths):
        code = findings.main([str(file), *paths])
        return code, [(row["arm"], row["seed"], round(row["turns"][0]["low_level"]["value"])) for row in map(json.loads, file.read_text().splitlines())]

    first = [evaluated("a1", "a", 1, 0.2), evaluated("a2", "a", 2, 0.3), evaluated("b1", "b", 1, 0.4)]
    before = told(*first)[1]
    assert [row[:2] for row in before] == [("a", 1), ("a", 2), ("b", 1)]
    code, after = told(evaluated("again", "a", 2, 0.8), evaluated("a3", "a", 3, 0.5))
    assert code == 0 and [row[:2] for row in after] == [("a", 1), ("a", 2), ("a", 3), ("b", 1)]
    assert (after[0], after[3]) == (before[0], before[2]) and after[1] != before[1]
    capsys.readouterr()
    assert told(str(tmp_path / "a2"), str(tmp_path / "again")) == (2, after)
    assert "is another run of arm 'a' and seed 2" in capsys.readouterr().err


def test_the_interval_of_an_arm_grows_with_the_spread_of_its_seeds_and_never_below_that_of_the_charts():
    alike = pooled([Interval(50.0, 48.0, 52.0)] * 3)
    apart = pooled([Interval(value, value - 2, value + 2) for value in (40.0, 50.0, 60.0)])
    assert (alike.value, alike.low, alike.high) == (50.0, 48.0, 52.0)
    half = math.hypot(4.302653 * 10 / math.sqrt(3), 2)
    assert apart.seeds == (40.0, 50.0, 60.0) and abs(apart.high - 50 - half) < 1e-4 and abs(50 - apart.low - half) < 1e-4
    assert pooled([Interval(None, None, None)]).value is None


def test_arms_are_compared_chart_by_chart_and_seed_by_seed():
    rng = np.random.default_rng(0)
    charts, gains = rng.uniform(0, 100, (3, 200)), [1.0, 2.0, 6.0]
    over = dict(zip((1, 2, 3), charts))
    found = paired({seed: over[seed] + gain for seed, gain in zip(over, gains)}, over)
    half = 4.302653 * np.std(gains, ddof=1) / math.sqrt(3)  # a gain equal on all charts leaves the bootstrap nothing
    assert np.allclose(found.seeds, gains) and np.allclose((found.value, found.high - found.value), (3, half), atol=1e-5)
    start = {7: charts.mean(axis=0)}
    alone, turned = paired(start, over), paired(over, start)  # the spread of the other arm's seeds counts from both sides
    assert np.allclose((alone.value, alone.low, alone.high), (-turned.value, -turned.high, -turned.low), atol=0.2) and len(alone.seeds) == 3
    some = paired({seed: over[seed] + 2.0 for seed in list(over)[:2]} | {9: charts[0] + 50.0}, over)  # seed 9 has no partner
    assert np.allclose(some.seeds, (2.0, 2.0)) and np.allclose((some.value, some.low, some.high), 2.0)
    assert np.allclose(paired({2: over[2] + 5.0}, over).seeds, 5.0)


def test_lines_without_their_runs_still_say_what_an_arm_gains_over_another(tmp_path, capsys):
    file, scores = tmp_path / "study.jsonl", {"start": (0.4, 0.5), "arm": (0.5, 0.7)}
    for name, turns in scores.items():
        made_up_run.evaluate(a_run(tmp_path / f"{name}_seed1", 1, name=name), turns, 16, 1)
    assert findings.main([str(file), *(str(tmp_path / f"{name}_seed1") for name in scores), "--over=start"]) == 0
    shown = capsys.readouterr().out
    low_level = {row["arm"]: np.array(row["charts"]["low_level"]) for row in map(json.loads, file.read_text().splitlines())}
    expected = [f"{gain:+.1f} (" for gain in (low_level["arm"] - low_level["start"]).mean(axis=1)]
    told = [line.split(" | ") for line in shown[shown.index("| over start |"):].splitlines() if line.startswith("| arm |")]
    assert len(told) == 1 and [cell.startswith(gain) for cell, gain in zip(told[0][1:3], expected)] == [True, True]
    assert "| first turn, last turn | text | layout | chart type | colour |" in shown

    assert findings.main([str(file), "--over=none"]) == 2 and "no arm 'none'; choose one of start, arm" in capsys.readouterr().err
    rows = [json.loads(line) for line in file.read_text().splitlines()]

    def shown_with(place, change):
        changed = [json.loads(json.dumps(row)) for row in rows]
        change(changed[place])
        file.write_text("\n".join(map(json.dumps, changed)))
        return findings.main([str(file), "--over=start"]), "".join(capsys.readouterr())

    assert [shown_with(1, lambda row: row["charts"].update(digest="other"))[0], shown_with(0, lambda row: row.pop("charts"))[0]] == [2, 2]
    code, shown = shown_with(1, lambda row: row.pop("charts"))
    assert code == 0 and "Without scores of charts: arm." in shown


def test_curves_lay_a_stage_behind_its_start_and_seeds_together(tmp_path):
    for seed in (1, 3):
        a_run(tmp_path / f"first{seed}", seed, name="first")
        a_run(tmp_path / f"second{seed}", seed, name="second", init=f"/moved/since/first{seed}@4")
    runs = read_runs([tmp_path / name for name in ("second1", "second3", "first1", "first3")])
    second, first = curves_of(runs, "reward/total")
    assert (second.label, second.offset, first.label, first.offset) == ("second", 4, "first", 0)
    assert first.seeds.tolist() == [[2, 3, 4, 5], [4, 5, 6, 7]] and first.mean.tolist() == [3, 4, 5, 6]
    assert curves_of(runs, "reward/total", window=2)[1].mean.tolist() == [3, 3.5, 4.5, 5.5]
    assert np.allclose(first.high - first.mean, 12.7062047 * math.sqrt(2) / math.sqrt(2), atol=1e-5)
    assert np.isnan(interval(np.ones((1, 3)))[1]).all() and curves_of(runs, "reward/none") == []
    (panel,) = draw_curves(runs[:2], ["reward/total"], window=1).figure.axes
    assert first.high.max() > 18 and panel.get_ylim() == (2 - 2.5, 7 + 2.5)  # bands of two seeds are wide, and cut half a span beyond the seeds


def test_curves_of_a_run_lie_behind_those_of_its_parts_whether_they_are_named_or_not(tmp_path):
    a_run(tmp_path / "arm_seed1_part1", 1, steps=3)
    a_run(tmp_path / "arm_seed1_part2", 1, steps=5, init=tmp_path / "arm_seed1_part1")
    a_run(tmp_path / "arm_seed1", 1, init=tmp_path / "arm_seed1_part2")
    a_run(tmp_path / "other", 1, name="other", init=tmp_path / "arm_seed1_part2")

    def offset(*names):
        return curves_of(read_runs([tmp_path / name for name in names]), "reward/total")[0].offset

    assert (offset("arm_seed1"), offset("arm_seed1", "arm_seed1_part2"), offset("arm_seed1_part2"), offset("other")) == (8, 8, 3, 0)
    again = RunDirectory(tmp_path / "arm_seed1_part1")
    again.write_config({**again.read_config(), "init": str(tmp_path / "arm_seed1_part2")})  # each from the other
    assert offset("arm_seed1") == 8


def test_arms_of_a_study_have_one_budget():
    configs = {name: load(f"{STUDY}:{name}") for name in ("full", "full_eta", "shared", "shared_half", "full_half")}
    assert {responses(each) for each in configs.values()} == {144}
    assert configs["full"].steps == configs["full_eta"].steps == configs["shared"].steps == configs["shared_half"].steps + configs["full_half"].steps
    with pytest.raises(ValueError, match="no variant 'other'"):
        load(f"{STUDY}:other")


@pytest.mark.parametrize("file", sorted(str(path) for path in Path("configs/study").glob("*.py") if "STUDY" in path.read_text()))
def test_every_arm_of_a_study_is_a_config_of_its_own_near_the_budget(file):
    trainings = runpy.run_path(file)["STUDY"]
    parts = {arm: [load(f"{file}:{part}") for part in expanded(trainings, arm)] for arm in trainings}
    told = {arm: [{key: value for key, value in leaves(part).items() if key not in ("name", "seed")} for part in own] for arm, own in parts.items()}
    assert len({repr(own) for own in told.values()}) == len(parts)
    rl = {arm: sum(part.steps * responses(part) for part in own if part.kind == "rl") for arm, own in parts.items()}
    spent = [each for each in rl.values() if each]
    assert max(spent) < 1.15 * min(spent)
    cold = {arm for arm in trainings if not rl[arm]}
    starts = {trainings[arm].split()[0] for arm in cold if trainings[arm] != arm}
    steps = {sum(part.steps for part in parts[arm]) for arm in cold - starts}
    assert len(steps) <= 1


def expanded(trainings, arm):
    """The trainings an arm consists of, those of the arm it goes on from before its own."""
    first, *own = trainings[arm].split()
    return (expanded(trainings, first) if first in trainings and first != arm else [first]) + own


def responses(config):
    """Sampled at an update."""
    rollout = config.rollout
    branches = range(1, rollout.turns + 1) if rollout.branching == "each" else [rollout.branch_turn]
    return config.batch.size * sum(rollout.group * (rollout.turns + 1 - branch) + branch - 1 for branch in branches) / len(branches)


def study(*arguments, **variables):
    here = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"} | variables
    return subprocess.run(["bash", "launch/study.sh", *arguments], env=here, capture_output=True, text=True, timeout=60)


def test_the_launcher_runs_what_has_no_result(tmp_path):
    (tmp_path / "full_seed2").mkdir()
    (tmp_path / "full_seed2" / "evaluation.json").write_text("{}")
    done = study("--dry-run", STUDY, str(tmp_path), START="start", DATA="data", ARMS="full shared_then_full", SEEDS="2")
    lines = done.stdout.splitlines()
    assert done.returncode == 0 and lines[0] == "== full, seed 2: evaluated already"
    part = f"{tmp_path}/shared_then_full_seed2"
    assert [f"--workdir={part}_part1" in lines[2], f"--config.init={part}_part1" in lines[3], "evaluate" in lines[4]] == [True] * 3 and len(lines) == 5
    assert ["--config.name=shared_half" in lines[2], "--config.name=shared_then_full" in lines[3]] == [True, True]      # so that parts can be compared too
    behind = study("--dry-run", "configs/study/vincicoder.py", str(tmp_path), START="random", DATA="data", ARMS="plain refined", SEEDS="2").stdout.splitlines()
    assert [line.split(",")[0] for line in behind if line[0] == "="] == [f"== {arm}" for arm in ("start", "plain_sft", "plain", "refined_sft", "refined")]
    assert [line.rsplit("=", 1)[1].removeprefix(f"{tmp_path}/") for line in behind if ".train" in line] == [
            "", "start_seed2", "plain_sft_seed2", "start_seed2", "refined_sft_seed2"]
    fresh = study("--dry-run", STUDY, str(tmp_path), START="random", DATA="data", ARMS="full", SEEDS="1")
    assert fresh.stdout.splitlines()[1].endswith("--config.init=")
    bare = tmp_path / "python"
    bare.write_text("#!/bin/sh\nexit 1\n")
    bare.chmod(0o755)
    outside = study("--dry-run", STUDY, str(tmp_path), START="start", DATA="data", PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert outside.returncode == 2
    assert outside.stderr == f"study.sh: {bare} does not have the packages of recoder_jax; activate their environment first: . .venv/bin/activate\n"
    for variables, words in (({"ARMS": "none"}, "no arm 'none'"), ({"SEEDS": "one"}, "SEEDS is 'one'"), ({"START": ""}, "START is not set")):
        wrong = study("--dry-run", STUDY, str(tmp_path), **{"START": "start", "DATA": "data"} | variables)
        assert wrong.returncode == 2 and words in wrong.stderr
