"""Languages of programs: one interface, found by name; a response is read in the language it was asked for."""

import re
from pathlib import Path

import numpy as np
import pytest

from recoder_jax import correct, languages
from recoder_jax.charts.execution import Execution, Limits, Status
from recoder_jax.charts.frames import parse_frame
from recoder_jax.charts.sandbox import Sandbox
from recoder_jax.configuration import defaults
from recoder_jax.dialogue.response import block_is_closed, parse_response, write_response
from recoder_jax.dialogue.turns import Prompts, prompts_of
from recoder_jax.languages.language import find, names
from recoder_jax.languages.python import LANGUAGE as PYTHON
from recoder_jax.rewards.mixture import Mixture
from recoder_jax.validation import validate

SVG = find("svg")
DOCUMENT = "<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'>\n<g/>\n</svg>"


@pytest.mark.parametrize("name", names())
def test_a_response_in_a_language_is_well_formed_in_it_and_in_no_other(name):
    language = find(name)
    text = write_response("a chart", "something\nto draw", language)
    for other in map(find, names()):
        response = parse_response(text, other)
        assert response.well_formed == (other is language) and (response.program == "something\nto draw") == (other is language)
        assert block_is_closed(text, other) == (other is language)
    assert language.name == name and language.suffix.startswith(".") and prompts_of(language).draw == language.draw


def test_the_texts_of_python_are_the_default_texts():
    assert prompts_of(PYTHON) == Prompts() and "python block" in PYTHON.missing


@pytest.mark.parametrize(
    "text, program",
    [
        (f"```python\nx = 1\n```\n```svg\n{DOCUMENT}\n```", DOCUMENT),
        (f"```svg\n<svg/>\n```\nbetter:\n```svg\n{DOCUMENT}\n```", DOCUMENT),
        (f"```xml\n{DOCUMENT}\n```", DOCUMENT),
        (f"```\n{DOCUMENT}\n```", DOCUMENT),
        (f"```svg\n{DOCUMENT}", DOCUMENT),
        (f"Here it is: {DOCUMENT} and that is all", DOCUMENT),
        (f"<?xml version='1.0'?>\n{DOCUMENT}\n", f"<?xml version='1.0'?>\n{DOCUMENT}"),
        (f"```svg {DOCUMENT}```", DOCUMENT),
        ("```python\nimport matplotlib.pyplot as plt\n```", None),
        ("```html\n<p>a chart</p>\n```", None),
        ("", None),
    ],
)
def test_the_document_is_found_among_fences_of_other_languages(text, program):
    assert parse_response(text, SVG).program == program


def test_an_unknown_language_is_one_sentence():
    with pytest.raises(ValueError, match="'cobol' is unknown; choose one of .*python, svg"):
        find("cobol")
    config = defaults().unlock()
    config.data.language = "cobol"
    with pytest.raises(ValueError, match="'cobol' is unknown"):
        validate(config)
    with pytest.raises(ValueError, match="'cobol' is unknown"):
        Sandbox(language="cobol")


def test_a_missing_renderer_is_named_before_anything_starts(monkeypatch):
    monkeypatch.setattr("recoder_jax.languages.language.importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"rendered by resvg_py, which is not installed; run `pip install -e .\[svg\]`"):
        Sandbox(language="svg")


@pytest.mark.parametrize("key, words", [("alpha", "reward.alpha"), ("textual", "reward.textual"), ("ramp_alpha", "reward.ramp_alpha")])
def test_rewards_that_need_elements_are_refused_without_them(key, words):
    config = defaults().unlock()
    config.kind, config.data.language, config.reward.alpha, config.reward.ramp_steps = "rl", "svg", 0.0, 4
    validate(config)
    config.reward[key] = 0.5
    with pytest.raises(ValueError, match=f"{words} is set but programs in svg have no elements"):
        validate(config)


def test_a_process_neither_invents_elements_nor_leaves_them_out():
    def frame(elements: str) -> bytes:
        header = ('{"status": "ok", "log": "", "tampered": "", "phases": {"execute": 0, "draw": 0, "elements": 0}, "chartmimic": null, '
                  '"figure": {"body": "pixels", "height": 1, "width": 1, "reason": "", "elements": %s}}' % elements).encode()
        return len(header).to_bytes(4, "little") + header + b"abc"

    assert parse_frame(frame("null"), Limits(), elements=False).elements is None
    with pytest.raises(ValueError, match="elements in a language that has none"):
        parse_frame(frame("{}"), Limits(), elements=False)
    with pytest.raises(ValueError):
        parse_frame(frame("null"), Limits())


def test_without_elements_the_reward_is_how_alike_the_pictures_look():
    target = np.full((20, 30, 3), 255, np.uint8)
    target[5:15, 5:9] = 0
    drawn, failed = Execution(Status.ok, target, None, "", 0.1), Execution(Status.error, None, None, "mismatched tag", 0.1)
    response, mixture = parse_response(write_response("a chart", DOCUMENT, SVG), SVG), Mixture(0.0, 0.0, similarity=0.9)
    right, wrong = (mixture(response, execution, drawn, target=target) for execution in (drawn, failed))
    assert right.total == pytest.approx(1) and wrong.total == pytest.approx(0.1) and not right.missing
    assert right.parts().keys() == {"total", "format", "similarity", "low_level", "executed"} and right.scores.low_level == 1
    assert (wrong.scores.executed, wrong.scores.low_level) == (False, 0.0)
    assert mixture(response, drawn, failed, target=target).total == 0


def test_another_language_is_one_file(tmp_path, monkeypatch):
    house = languages.__path__[0]
    lines = Path(house, "python.py").read_text().replace("python", "mermaid").replace("'.py'", "'.mmd'")
    (tmp_path / "mermaid.py").write_text(lines)
    monkeypatch.setattr(languages, "__path__", [house, str(tmp_path)])
    assert "mermaid" in names() and correct.is_turn_file("turn_2.mmd") and not correct.is_turn_file("turn_2.txt")
    assert parse_response("```mermaid\ngraph TD\n```", find("mermaid")).program == "graph TD"


def test_only_the_room_of_languages_and_their_worlds_name_one():
    for path in Path("recoder_jax").rglob("*.py"):
        if path.parts[1] == "languages" or path.name in ("svg_tokenizer.py", "svg_world.py", "svg_program.py"):
            continue
        named = set(re.findall(r"recoder_jax\.languages\.(\w+)", path.read_text()))
        assert named <= {"language", "python"}, f"{path} imports {named}"
