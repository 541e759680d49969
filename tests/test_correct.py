"""Promises of `python -m recoder_jax.correct` on bad input; `test_train.py` plays a dialogue with it."""

import json

import numpy as np
import pytest

from recoder_jax import correct
from recoder_jax.charts.chart import Chart
from recoder_jax.charts.execution import Execution, Status
from recoder_jax.configuration import defaults
from recoder_jax.dialogue.encoder import Tokens
from recoder_jax.dialogue.images import encode_png
from recoder_jax.dialogue.response import parse_response, write_response
from recoder_jax.rollout.trajectory import Group, Trajectory, Turn

CHART = np.full((56, 84, 3), 200, np.uint8)


@pytest.fixture
def place(tmp_path):
    """A chart, a run directory without weights, and a policy directory without weights."""
    (tmp_path / "chart.png").write_bytes(encode_png(CHART))
    (tmp_path / "long.png").write_bytes(encode_png(np.zeros((10, 3000, 3), np.uint8)))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text(json.dumps(defaults().to_dict()))
    (tmp_path / "policy" / "params").mkdir(parents=True)
    return tmp_path


def options_of(place, *extra, checkpoint="run", image="chart.png", out="out"):
    return [f"--checkpoint={place / checkpoint}", f"--image={place / image}", f"--out={place / out}", *extra]


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ("--turns=0", "--turns is 0"),
        ("--response-tokens=-1", "--response-tokens is -1"),
        ("--feedback-tokens=-5", "--feedback-tokens is -5"),
        ("--min-pixels=-1", "--min-pixels is -1"),
        ("--max-pixels=-1", "--max-pixels is -1"),
        ("--temperature=-0.5", "--temperature is -0.5"),
        ("--temperature=nan", "--temperature is nan"),
        ("--temperature=inf", "--temperature is inf"),
        ("--seed=-1", "--seed is -1"),
        ("--tensor=0", "--tensor is 0"),
        ("--tensor=99", "--tensor is 99, and this process has"),
        ("--min-pixels=999999", "do not fit together"),
        ("--max-pixels=783", "do not fit together"),
        ("--max-pixels=999999", "raise --feedback-tokens or lower --max-pixels"),
        ("--feedback-tokens=64", "raise --feedback-tokens or lower --max-pixels"),
    ],
)
def test_bad_options_are_refused_before_anything_is_written(extra, words, place, capsys):
    assert correct.main(options_of(place, extra)) == 2
    error = capsys.readouterr().err.strip()
    assert words in error and error.count("\n") == 0 and not (place / "out").exists()


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"checkpoint": "nowhere"}, "is no run directory"),
        ({"image": "nowhere.png"}, "there is no image file"),
        ({"image": "run/config.json"}, "not an image"),
        ({"image": "long.png"}, "crop it"),
        ({"out": "chart.png"}, "chart.png"),
    ],
)
def test_missing_and_wrong_files_are_named(changed, words, place, capsys):
    assert correct.main(options_of(place, **changed)) == 2
    error = capsys.readouterr().err.strip()
    assert words in error and error.count("\n") == 0


def test_an_image_that_the_turns_would_overwrite_is_refused(place, capsys):
    image = place / "out" / "turn_3.png"
    image.parent.mkdir()
    image.write_bytes(encode_png(CHART))
    assert correct.main(options_of(place, image="out/turn_3.png")) == 2
    assert "choose another --out" in capsys.readouterr().err and image.exists()


def test_caps_and_bounds_come_from_the_options_then_the_checkpoint(place):
    saved = defaults().to_dict()
    saved["rollout"]["response_tokens"], saved["image"]["max_pixels"] = 33, 28 * 280
    (place / "run" / "config.json").write_text(json.dumps(saved))

    def sizes(*extra, checkpoint):
        config = correct.config_of(correct.options_parser().parse_args(options_of(place, *extra, checkpoint=checkpoint)))
        return config.rollout.response_tokens, config.rollout.feedback_tokens, config.image.min_pixels, config.image.max_pixels

    assert sizes(checkpoint="run") == (33, 96, 28 * 28, 28 * 280)
    assert sizes(checkpoint="policy") == (4096, 1536, 4 * 28 * 28, 1280 * 28 * 28)
    given = ["--response-tokens=7", "--feedback-tokens=300", "--min-pixels=800", "--max-pixels=9000"]
    assert sizes(*given, checkpoint="run") == sizes(*given, checkpoint="policy") == (7, 300, 800, 9000)


def dialogue(turns):
    """A dialogue whose first program fails and whose later ones draw."""
    played = []
    for number in range(1, turns + 1):
        response = parse_response(write_response("", f"x = {number}"))
        render, status = (None, Status.error) if number == 1 else (np.full((28, 28, 3), number, np.uint8), Status.ok)
        execution = Execution(status, render, None, "NameError" if number == 1 else "", 0.1)
        played.append(Turn(number, np.zeros(3, np.int32), np.zeros(3, np.float32), True, response, execution, None, None))
    return [Group(Chart("chart.png", CHART, ""), Tokens(np.zeros(1, np.int32)), 1, (Trajectory(tuple(played), 0.0),))]


def test_a_shorter_dialogue_leaves_nothing_of_an_earlier_one(place):
    options, out = correct.options_parser().parse_args(options_of(place)), place / "out"
    out.mkdir()
    (out / "turn_notes.txt").write_text("the user's own")
    correct.write(dialogue(12), CHART, out, options)
    assert (out / "turn_12.png").exists() and (out / "turn_1.log").read_text() == "NameError\n"
    correct.write(dialogue(2), CHART, out, options)
    left = {path.name for path in out.iterdir()}
    assert left == {"turn_notes.txt", "target.png", "turn_1.py", "turn_1.log", "turn_2.py", "turn_2.png", "dialogue.html"}
