"""The walls of the house: imports point down, host-only rooms do without jax, files stay readable."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path("recoder_jax")
ROOMS = ["doors", "evaluation", "rollout", "learning", "serving", "sampling", "models", "sharding", "processes", "rewards", "data", "charts", "dialogue", "runs", "languages"]
HOST_ONLY = {"charts", "dialogue", "rewards", "runs", "data", "languages"}
FILES = sorted(PACKAGE.rglob("*.py"))


def room_of(parts) -> str:
    return parts[0] if len(parts) and parts[0] in ROOMS else "doors"


def imports_of(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names if node.module == "recoder_jax")
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


@pytest.mark.parametrize("path", FILES, ids=str)
def test_imports_point_down(path):
    here = path.relative_to(PACKAGE).with_suffix("").parts
    level = ROOMS.index(room_of(here))
    for module in imports_of(path):
        parts = module.split(".")
        if parts[0] == "recoder_jax" and len(parts) > 1 and parts[1] != "doors":
            assert ROOMS.index(room_of(parts[1:])) >= level, f"{path} imports {module}, which lies above it"
        if room_of(here) in HOST_ONLY:
            assert parts[0] not in ("jax", "flax", "optax"), f"{path} is host-only but imports {module}"


@pytest.mark.parametrize("path", FILES, ids=str)
def test_files_and_functions_stay_short(path):
    source = path.read_text()
    assert source.count("\n") <= 400, f"{path} has {source.count(chr(10))} lines; is there a second room in it?"
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef):
            size = node.end_lineno - node.lineno + 1
            assert size <= 60, f"{path}: {node.name} has {size} lines"


def test_a_worker_starts_without_jax():
    code = "import sys, recoder_jax.charts.worker, recoder_jax.charts.sandbox, recoder_jax.dialogue.encoder; assert 'jax' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


def test_package_marker_is_empty():
    assert all(path.read_text() == "" for path in PACKAGE.rglob("__init__.py"))
