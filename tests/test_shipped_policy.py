"""The policy that comes with the package: found by its name, small, and able to draw; what `convert export` keeps of a run beside the weights."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest

from recoder_jax import correct, factory
from recoder_jax.charts.scores import rule_score
from recoder_jax.configuration import defaults
from recoder_jax.convert import main as convert
from recoder_jax.data.chart_world import ChartWorld
from recoder_jax.dialogue.images import encode_png
from recoder_jax.subjects import policy_config


def test_it_draws_a_chart_it_never_saw_by_its_name(sandbox, tmp_path):
    golden = ChartWorld("test", 4, 0).program(0)
    wanted = sandbox.execute(golden)
    (tmp_path / "chart.png").write_bytes(encode_png(wanted.render))
    assert correct.main(["--checkpoint=tiny", f"--image={tmp_path / 'chart.png'}", "--turns=1", f"--out={tmp_path / 'out'}"]) == 0
    drawn = sandbox.execute((tmp_path / "out" / "turn_1.py").read_text())
    assert rule_score(drawn, wanted).low_level > 0.5


def test_training_starts_from_its_weights():
    config, mesh = defaults(), factory.one_device()
    config.init = "tiny"
    with jax.set_mesh(mesh):
        started = factory.initial_params(config, factory.policy_of(config), mesh)
        _, params = factory.trained_policy("tiny", config, mesh)
    assert jax.tree.all(jax.tree.map(np.array_equal, started, params))
    config.model.preset = "100m"
    with pytest.raises(ValueError, match="of other sizes"):
        factory.initial_params(config, factory.policy_of(config), mesh)


def test_it_brings_the_bounds_it_was_trained_with():
    config = policy_config(defaults(), "tiny")
    assert (config.name, config.image.max_pixels, config.rollout.response_tokens) == ("SFT + corrections, longer", 224 * 224, 72)
    assert factory.language_of_run("tiny") == "python" and len(factory.policy_mark("tiny")) == 12


def test_a_directory_of_the_user_goes_before_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert factory.is_foreign("tiny")
    Path("tiny").mkdir()
    assert not factory.is_foreign("tiny") and factory.shipped("tiny") == "tiny"


def test_conversion_keeps_what_the_run_was_trained_with(tmp_path):
    there, back = tmp_path / "policy", tmp_path / "exported"
    assert convert(["import", "tiny", str(there)]) == 0 and (there / "params").is_dir()
    assert convert(["export", str(there), str(back)]) == 0
    assert (back / factory.SETTINGS).read_text() == (factory.SHIPPED / "tiny" / factory.SETTINGS).read_text()
    assert json.loads((back / "config.json").read_text())["model_type"] == "qwen2_5_vl"


def test_what_is_shipped_is_small_and_described():
    files = {file.name: file.stat().st_size for file in (factory.SHIPPED / "tiny").iterdir()}
    assert sum(files.values()) < 8e6 and "README.md" in files
