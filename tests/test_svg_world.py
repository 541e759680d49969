"""A second language end to end: the chart world as SVG documents is prepared, asked for, played, evaluated, corrected and shown."""

import dataclasses
import json

import jax
import numpy as np
import pytest

pytest.importorskip("resvg_py", reason="SVG is rendered by resvg_py; pip install -e .[svg]")

from recoder_jax import correct, evaluate, factory, prepare, report, train
from recoder_jax.charts.sandbox import Sandbox
from recoder_jax.configuration import load
from recoder_jax.data.chart_world import ChartWorld
from recoder_jax.data.sources import open_charts, open_examples
from recoder_jax.data.svg_tokenizer import train as train_tokenizer
from recoder_jax.data.svg_world import CRASHES, SvgWorld, svg_correction
from recoder_jax.dialogue.encoder import load_tokenizer
from recoder_jax.dialogue.images import encode_png
from recoder_jax.dialogue.response import parse_response, write_response
from recoder_jax.dialogue.turns import prompts_of
from recoder_jax.languages.language import find
from recoder_jax.languages.svg import LANGUAGE
from recoder_jax.models.qwen2_5_vl.config import preset
from recoder_jax.rollout.lessons import SupervisedLessons, example_tree
from recoder_jax.runs.directory import RunDirectory

CAP = 112  # rollout.response_tokens of configs/tiny/svg_*.py
SMALL_RL = [
    "--config.batch.rows=4", "--config.sandbox.workers=1", "--config.model.unroll=1", "--config.steps=1", "--config.batch.size=2", "--config.batch.micro_batches=1", "--config.rollout.charts=2", "--config.rollout.group=2", "--config.rollout.chunk=12",
    "--config.rollout.response_tokens=12", "--config.batch.least_trained=256", "--config.batch.least_images=16", "--config.log.rollouts_every=1",
]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A directory with svg_world and its corrections."""
    out = str(tmp_path_factory.mktemp("svg"))
    for name in ("svg_world", "svg_world_corrections"):
        assert prepare.main([name, "--out", out, "--train", "12", "--validation", "1", "--test", "3", "--workers", "2"]) == 0
    return out


@pytest.fixture
def small_policy(monkeypatch):
    """The tiny policy with one block of each kind, compiled without the optimisations that one step does not pay for."""

    def small(*arguments, **changes):
        sizes = preset(*arguments, **changes)
        vision = dataclasses.replace(sizes.vision, depth=2, full_attention=(1,))
        return dataclasses.replace(sizes, vision=vision, text=dataclasses.replace(sizes.text, layers=1))

    monkeypatch.setattr(factory, "preset", small)
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


def test_the_charts_are_those_of_chart_world_and_all_are_drawn():
    world, same = SvgWorld("test", 80, 0), ChartWorld("test", 80, 0)
    assert [world.spec(index) for index in range(20)] == [same.spec(index) for index in range(20)]
    with Sandbox(workers=2, language="svg") as sandbox:
        executions = sandbox.execute_all([world.program(index) for index in range(80)])
        flawed = [(svg_correction(world, index), executions[index]) for index in range(40)]
        results = sandbox.execute_all([correction.flawed for correction, _ in flawed])
    assert all(execution.ok and execution.render.shape == (224, 224, 3) for execution in executions)
    assert {world.kind(index) for index in range(80)} == {same.kind(index) for index in range(80)}
    for (correction, golden), result in zip(flawed, results, strict=True):
        assert result.ok == (not correction.error) and (not result.ok or not np.array_equal(result.render, golden.render)), correction.diagnosis
    assert {correction.edits[0] for correction, _ in flawed} & {crash.name for crash in CRASHES}
    with pytest.raises(ValueError, match="difficulty 2 has no SVG form"):
        SvgWorld("test", 1, 2)


def test_the_tokenizer_writes_every_response_within_the_cap():
    tokenizer, world = load_tokenizer("tiny_svg"), SvgWorld("test", 300, 0)
    texts = [write_response(world.think(index), world.program(index), LANGUAGE) for index in range(300)]
    ids = [tokenizer.encode(text).ids for text in texts]
    assert all(tokenizer.decode(found, skip_special_tokens=False) == text for found, text in zip(ids, texts, strict=True))
    assert np.mean([len(found) for found in ids]) < 60 and np.quantile([len(found) for found in ids], 0.99) < CAP


def test_the_shipped_tokenizer_is_what_training_writes():
    shipped, trained = (json.loads(found.to_str())["model"] for found in (load_tokenizer("tiny_svg"), train_tokenizer()))
    assert trained == shipped, "run `python -m recoder_jax.data.svg_tokenizer recoder_jax/dialogue/tiny_svg_tokenizer`"


def test_examples_speak_the_language_of_their_set(drawn):
    first, last = (parse_response(text, LANGUAGE) for text in open_examples(drawn, "svg_world_corrections", "train")[0].responses)
    assert first.well_formed and last.well_formed and last.program.startswith("<svg") and first.program != last.program
    with pytest.raises(ValueError, match="'svg_world' are in svg, not python; set data.language to svg"):
        open_charts(drawn, "svg_world", "train")


def test_sft_asks_for_each_chart_in_the_language_of_its_set(drawn, world):
    config = load("configs/tiny/svg_corrections.py", ["--config.data.mixed_with=svg_world:train", f"--config.data.dir={drawn}", "--config.batch.size=4"])
    encoder = factory.policy_of(config).encoder
    texts = [encoder.decode(tree.prefix.ids) for tree in SupervisedLessons(config, encoder)(None, 0, 0).trees]
    assert len(texts) == 4 and all("one svg block that draws this chart as SVG" in text and "```svg" in text for text in texts)
    assert max(tree.size for tree in SupervisedLessons(config, encoder)(None, 0, 0).trees) <= config.batch.row_tokens
    python = example_tree(open_examples(world, "chart_world", "train")[0], encoder, prompts_of(find("python")), 96)
    assert "with matplotlib" in encoder.decode(python.prefix.ids)
    with config.unlocked():
        config.data.language = "python"
    with pytest.raises(ValueError, match="'svg_world_corrections' are in svg, not python"):
        SupervisedLessons(config, encoder)


def test_rl_evaluation_correction_and_report_run_on_a_second_language(drawn, tmp_path, small_policy, capsys):
    data = f"--config.data.dir={drawn}"
    rl = str(tmp_path / "rl")
    assert train.main(["--config=configs/tiny/svg_rl.py", f"--workdir={rl}", data, *SMALL_RL]) == 0
    metrics = RunDirectory.existing(rl).read_metrics()[-1]
    assert {"reward/similarity", "reward/format", "turn2/low_level"} <= metrics.keys()
    assert "reward/rule" not in metrics and "turn1/text" not in metrics
    turn = RunDirectory.existing(rl).read_rollouts(1)[0].turns[0]
    assert turn.status == "error" and "no element found" in turn.log

    shown = [data, "--config.evaluation.charts=3", "--config.evaluation.turns=1", "--config.evaluation.batch=3", "--config.sandbox.workers=1"]
    assert evaluate.main(["--config=configs/tiny/svg_evaluate.py", f"--workdir={rl}", *shown]) == 0
    assert "* image similarity" in capsys.readouterr().out
    evaluation = RunDirectory.existing(rl).read_evaluation()
    assert evaluation.compared == "pictures" and evaluation.turns[0].text is None

    image = tmp_path / "chart.png"
    image.write_bytes(encode_png(open_charts(drawn, "svg_world", "test", language="svg")[0].image))
    assert correct.main([f"--checkpoint={rl}", f"--image={image}", "--turns=1", f"--out={tmp_path / 'out'}"]) == 0
    assert {"turn_1.svg", "dialogue.html"} <= {path.name for path in (tmp_path / "out").iterdir()}

    assert report.main([rl, f"--out={tmp_path / 'report.html'}"]) == 0
    assert "Image similarity in the place of low-level" in (tmp_path / "report.html").read_text()

    capsys.readouterr()
    assert train.main(["--config=configs/tiny/svg_rl.py", f"--workdir={rl}", data, *SMALL_RL, "--config.steps=2", "--config.data.language=python",
                       "--config.reward.similarity=0.9"]) == 2
    assert "the run was started with data.language = 'svg'" in capsys.readouterr().err
