"""Every notebook runs from top to bottom on run directories of somebody, and its results can be shown. Cells run in this process, without a kernel."""

import ast
import json
from pathlib import Path

import pytest

from recoder_jax.runs.directory import RunDirectory
from tests import made_up_run
from tests.test_report import dialogue, turn

NOTEBOOKS = sorted(Path("notebooks").glob("*.ipynb"))
MOST = 1_500_000  # bytes of a notebook with its outputs


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Directories of a chain and of a study of two arms and two seeds; one run gave alarms."""
    place = tmp_path_factory.mktemp("runs")
    chain = made_up_run.chain(place, sft_steps=4, rl_steps=2, charts=4, size=2, evaluated=8)
    return {"chain": chain, "study": made_up_run.study(place, seeds=2, steps=3, charts=1, size=2, evaluated=8)}


def shown(notebook, variables, monkeypatch):
    """Runs the code cells; what each cell ends with, as a notebook would show it."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    namespace, results = {}, []
    for cell in json.loads(notebook.read_text())["cells"]:
        if cell["cell_type"] != "code":
            continue
        tree = ast.parse("".join(cell["source"]))
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, str(notebook), "exec"), namespace)
        if last is not None:
            value = eval(compile(ast.Expression(last.value), str(notebook), "eval"), namespace)
            results.append(value._repr_png_() if hasattr(value, "_repr_png_") else value._repr_markdown_())
    return results


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_on_the_runs_of_a_user(notebook, runs, monkeypatch):
    chosen = {"compare_runs": runs["study"], "reward_curves": runs["chain"]}.get(notebook.stem, runs["chain"][-1:])
    results = shown(notebook, {"RUNS": " ".join(map(str, chosen))}, monkeypatch)
    assert len(results) >= 5 and all(results)
    assert sum(isinstance(result, bytes) and result.startswith(b"\x89PNG") for result in results) >= 3


def test_curves_overlay_seeds_and_show_alarms(runs, monkeypatch):
    results = shown(Path("notebooks/reward_curves.ipynb"), {"RUNS": " ".join(map(str, runs["study"]))}, monkeypatch)
    assert "plain | 0, 1 |" in results[0] and "tampering" in results[-1]


def test_rewards_of_another_language_are_those_of_what_the_policy_wrote(tmp_path, monkeypatch):
    pytest.importorskip("resvg_py", reason="resvg draws SVG: pip install -e .[svg]")
    drawing = "<svg xmlns='http://www.w3.org/2000/svg' width='40' height='40'><path d='M3 3H30V20' fill='none' stroke='{}'/></svg>"
    run = RunDirectory(tmp_path)
    run.write_config({"name": "svg", "data": {"language": "svg"}})
    turns = [turn(number, program=program) for number, program in enumerate((drawing.format("red"), drawing.format("blue"), "<svg"), start=1)]
    run.write_rollouts(0, [dialogue(*turns, golden=drawing.format("red"))])
    results = shown(Path("notebooks/explore_rewards.ipynb"), {"RUNS": str(tmp_path)}, monkeypatch)
    assert "```svg" in results[0] and len(results) == 5 and all(results)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_committed_with_its_outputs(notebook):
    cells = [cell for cell in json.loads(notebook.read_text())["cells"] if cell["cell_type"] == "code"]
    assert all(cell["execution_count"] for cell in cells) and any(cell["outputs"] for cell in cells)
    assert not any(output["output_type"] == "error" for cell in cells for output in cell["outputs"])
    assert notebook.stat().st_size < MOST
