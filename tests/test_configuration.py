"""Bad input ends with one sentence and exit code 2, before anything is compiled."""

import ast
import re
from pathlib import Path

import pytest

from recoder_jax import correct, evaluate, train
from recoder_jax.configuration import defaults, fingerprint, load

CONFIGS = sorted(str(path) for path in Path("configs").rglob("*.py"))
SFT, RL = "configs/tiny/sft.py", "configs/tiny/stage1_shared_first_turn.py"


@pytest.mark.parametrize("file", CONFIGS)
def test_every_config_loads_locked_and_says_what_it_is(file):
    extra = ["--config.judge.base_url=http://localhost:8000/v1"] if Path(file).parent.name == "configs" else []
    config = load(file, extra)
    assert config.is_locked
    docstring = ast.get_docstring(ast.parse(Path(file).read_text()))
    assert "Command" in docstring and "Data" in docstring or "evaluate" in file


@pytest.mark.parametrize(
    ("file", "override", "words"),
    [
        (SFT, "--config.optimizer.learningrate=1", "learningrate"),
        (SFT, "--config.steps=many", "many"),
        (SFT, "--config.steps=0", "steps is 0"),
        (SFT, "--config.kind=dpo", "choose sft or rl"),
        (SFT, "--steps=3", "overrides are written"),
        (SFT, "--config.batch.rows=3 --config.mesh.fsdp=2", "not a multiple"),
        (RL, "--config.rollout.group=1", "at least 2 trajectories"),
        (RL, "--config.rollout.branch_turn=3", "must lie in 1..2"),
        (RL, "--config.reward.alpha=0.8 --config.reward.beta=0.3", "their sum <= 1"),
        (RL, "--config.reward.alpha=0.5 --config.reward.beta=0.3", "judge.base_url is empty"),
        (RL, "--config.batch.size=10", "not a multiple of rollout.charts"),
        (RL, "--config.rollout.temperature=0.0", "give a value above 0"),
    ],
)
def test_contradictions_are_refused_in_one_sentence(file, override, words, tmp_path, capsys):
    assert train.main([f"--config={file}", f"--workdir={tmp_path}", *override.split()]) == 2
    error = capsys.readouterr().err.strip()
    assert words in error and error.count("\n") == 0 and "Traceback" not in error


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--config=configs/none.py", "--workdir=RUN"], "there is no config file"),
        ([f"--config={SFT}", "--workdir=RUN", "--config.data.dir=nowhere"], "recoder_jax.prepare"),
        ([f"--config={SFT}", "--workdir=FILE/run"], "FILE"),
        ([f"--config={SFT}", "--workdir=RUN", "--config.init=nowhere"], "nowhere"),
        ([f"--config={SFT}", "--workdir=RUN", "--config.tokenizer=nowhere"], "tokenizer.json"),
        ([f"--config={SFT}", "--workdir=RUN", "--config.mesh.tensor=7"], "does not cover"),
    ],
)
def test_missing_things_are_named(arguments, words, tmp_path, capsys):
    (tmp_path / "FILE").write_text("a file")
    arguments = [a.replace("RUN", str(tmp_path / "run")).replace("FILE", str(tmp_path / "FILE")) for a in arguments]
    assert train.main(arguments) == 2
    error = capsys.readouterr().err.strip()
    assert words.replace("FILE", str(tmp_path / "FILE")) in error and "Traceback" not in error


def test_other_doors_name_what_is_missing(tmp_path, capsys):
    assert evaluate.main(["--config=configs/tiny/evaluate.py", f"--workdir={tmp_path / 'none'}"]) == 2
    assert "no run directory" in capsys.readouterr().err
    (tmp_path / "broken.png").write_bytes(b"not an image")
    for image in ("none.png", "broken.png"):
        assert correct.main([f"--checkpoint={tmp_path}", f"--image={tmp_path / image}", f"--out={tmp_path / 'out'}"]) == 2
        assert image in capsys.readouterr().err


def test_every_key_of_the_config_has_a_reader():
    text = "".join(path.read_text() for path in Path("recoder_jax").rglob("*.py") if path.name != "configuration.py")
    unread = []
    for section, value in defaults().items():
        for key in value.keys() if hasattr(value, "keys") else [None]:
            name = section if key is None else key
            whole = key is not None and re.search(rf"\*\*config\.{section}\b", text)
            if not whole and not re.search(rf"\.{name}\b", text):
                unread.append(f"{section}.{key}" if key else section)
    assert unread == []


def test_fingerprint_changes_with_any_value():
    config = defaults()
    before = fingerprint(config)
    config.rollout.eta = 0.1
    assert fingerprint(config) != before
