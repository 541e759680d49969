"""Bad input ends with one sentence and exit code 2, before anything is compiled."""

import ast
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from recoder_jax import correct, evaluate, train
from recoder_jax.configuration import defaults, fingerprint, load
from recoder_jax.doors import door
from recoder_jax.models.qwen2_5_vl.config import preset
from recoder_jax.validation import CHOICES, leaves

CONFIGS = sorted(str(path) for path in Path("configs").rglob("*.py"))
SFT, RL = "configs/tiny/sft.py", "configs/tiny/stage1_shared_first_turn.py"


def numbers(kind: type, *but: str) -> list[str]:
    """All keys whose default is of a type, but some."""
    return [key for key, value in leaves(defaults()).items() if type(value) is kind and key not in but]


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
        (SFT, "--config.optimizer.schedule.x=3", "an override of the config"),
        (SFT, "--config.batch=3", "is not a dict"),
        (SFT, "--config.kind=dpo", "kind is 'dpo'; choose sft or rl"),
        (SFT, "--config.model.preset=1b", "choose tiny, 100m, 3b, 7b or 72b"),
        (SFT, "--config.model.dtype=float8", "choose float32 or bfloat16"),
        (SFT, "--config.model.param_dtype=float16", "choose float32 or bfloat16"),
        (SFT, "--config.data.trained_turns=first", "choose all or last"),
        (SFT, "--config.optimizer.schedule=linear", "choose cosine or constant"),
        (SFT, "--config.objective.aggregation=mean", "choose sequence_mean, token_mean or constant"),
        (RL, "--config.objective.baseline=median", "choose mean or leave_one_out"),
        (RL, "--config.objective.ratio=sequence", "every ratio is 1"),
        (RL, "--config.objective.truncate=2.0 --config.objective.updates=2", "weighs the one update"),
        (SFT, "--config.objective.truncate=2.0", "weighs the one update"),
        (RL, "--config.sandbox.isolation=none", "choose auto, strict or forced"),
        (RL, "--config.sandbox.replay=maybe", "choose required, preferred or off"),
        (RL, "--config.alarms.gap=shout", "choose off, say or stop"),
        (RL, "--config.alarms.window=3", "alarms.window is 3; give at least 4"),
        (SFT, "--config.checkpoint.best_mode=most", "choose max or min"),
        (SFT, "--config.checkpoint.keep_every=75", "not a multiple of checkpoint.every = 120"),
        (SFT, "--config.checkpoint.keep_every=-50", "checkpoint.keep_every is -50"),
        (SFT, "--config.objective.on_nonfinite=ignore", "choose stop or skip"),
        (SFT, "--config.profile=(3,2)", "profile is (3, 2); give (first step, last step)"),
        (SFT, "--config.profile=(0,2)", "profile is (0, 2); give (first step, last step)"),
        (SFT, "--config.profile=(1,2.5)", "such as (10,13), or ()"),
        (SFT, "--config.profile=(3,)", "profile is (3,); give (first step, last step)"),
        (SFT, "--config.profile=(5000,5003)", "lower it or raise steps"),
        (SFT, "--config.mirror=bucket/runs", "mirror is 'bucket/runs'; give an address"),
        (SFT, "--config.seed=-1", "seed is -1"),
        (SFT, f"--config.seed={2**31}", f"seed is {2**31}"),
        (SFT, "--config.objective.clip_high=inf", "objective.clip_high is inf; give a finite number"),
        (SFT, "--config.optimizer.b1=1.0", "optimizer.b1 is 1.0"),
        (SFT, "--config.optimizer.b2=-0.1", "optimizer.b2 is -0.1"),
        (SFT, "--config.data.mixed_with=chart_world", "write name:split"),
        (SFT, "--config.data.mixed_with=:train", "write name:split"),
        (SFT, "--steps=3", "overrides are written"),
        (SFT, "--config.batch.rows=3 --config.mesh.fsdp=2", "not a multiple"),
        (SFT, "--config.batch.rows=3 --config.mesh.fsdp=-1 --config.mesh.data=2", "not a multiple"),
        (SFT, "--config.mesh.fsdp=-1 --config.mesh.data=-1", "one of them -1"),
        (SFT, "--config.mesh.tensor=0", "mesh.tensor is 0"),
        (SFT, "--config.mesh.data=-2", "mesh.data is -2"),
        (SFT, "--config.image.max_pixels=783", "image.max_pixels is 783"),
        (SFT, "--config.image.min_pixels=60000", "is above image.max_pixels"),
        (SFT, "--config.rollout.feedback_tokens=64", "a render of image.max_pixels takes 64"),
        (SFT, "--config.objective.clip_low=0.0", "objective.clip_low is 0.0"),
        (SFT, "--config.objective.clip_low=1.0", "objective.clip_low is 1.0"),
        (SFT, "--config.objective.clip_dual=1.0", "objective.clip_dual is 1.0"),
        (SFT, "--config.objective.clip_dual=-2.0", "objective.clip_dual is -2.0"),
        (SFT, "--config.objective.updates=2", "only RL uses a batch more than once"),
        (RL, "--config.rollout.group=1", "at least 2 trajectories"),
        (RL, "--config.rollout.branch_turn=3", "must lie in 1..2"),
        (RL, "--config.rollout.branching=all", "choose one or each"),
        (RL, "--config.rollout.branching=each", "the only one to branch at; lower it"),
        (RL, "--config.rollout.difference=True", "a render of image.max_pixels and its difference take 128; raise it"),
        (SFT, "--config.rollout.difference=True --config.rollout.feedback_tokens=128", "and its difference take 128; raise it"),
        (RL, "--config.objective.rare=0.5", "set it to 0, or kind to sft"),
        (SFT, "--config.objective.kl=0.1", "only RL has a reference"),
        (RL, "--config.objective.kl=-0.1", "objective.kl is -0.1"),
        (RL, "--config.objective.kl_first_turn=0.1", "turn 1 is not trained"),
        (RL, "--config.objective.kl_estimator=k1", "set objective.kl_in to reward"),
        (RL, "--config.rollout.refills=-1", "rollout.refills is -1"),
        (RL, "--config.rollout.seats=-1", "rollout.seats is -1"),
        (RL, "--config.rollout.group=8 --config.rollout.seats=7", "rollout.seats is 7, fewer than the 8 trajectories of a group"),
        (RL, "--config.rollout.refills=1 --config.objective.kl=0.1 --config.objective.kl_in=reward", "no two rewards equal"),
        (RL, "--config.rollout.overlong_tokens=73", "above rollout.response_tokens = 72"),
        (SFT, "--config.objective.rare_most=0.5", "objective.rare_most is 0.5; give a number from 1"),
        ("configs/beyond/difference_feedback.py:sft", "", "choose corrections or rl"),
        (RL, "--config.reward.alpha=0.8 --config.reward.beta=0.3", "whose sum is at most 1"),
        (RL, "--config.reward.alpha=0.5 --config.reward.beta=0.3", "judge.base_url is empty"),
        (RL, "--config.rollout.temperature=0.7", "make the update off-policy"),
        *((SFT, f"--config.{key}=0", f"{key} is 0") for key in numbers(
            int, "seed", "mesh.data", "mesh.fsdp", "mesh.tensor", "optimizer.warmup", "rollout.overlong_tokens", "rollout.refills", "rollout.seats",
            "reward.ramp_steps", "checkpoint.keep_every",
        )),
        (SFT, "--config.optimizer.warmup=-1", "optimizer.warmup is -1"),
        *((SFT, f"--config.{key}=-1", f"{key} is -1.0; give") for key in numbers(float, "rollout.gamma", "rollout.eta")),
        *((SFT, f"--config.{key}=nan", f"{key} is nan") for key in numbers(float)),
        (SFT, "--config.optimizer.learning_rate=0", "optimizer.learning_rate is 0.0"),
        (SFT, "--config.optimizer.clip_norm=0", "optimizer.clip_norm is 0.0"),
        (SFT, "--config.objective.constant=0", "objective.constant is 0.0"),
        (SFT, "--config.objective.clip_high=0", "objective.clip_high is 0.0"),
        (SFT, "--config.judge.seconds=0", "judge.seconds is 0.0"),
        (SFT, "--config.sandbox.seconds=0", "sandbox.seconds is 0.0"),
    ],
)
def test_contradictions_are_refused_in_one_sentence(file, override, words, tmp_path, capsys):
    assert train.main([f"--config={file}", f"--workdir={tmp_path}", *override.split()]) == 2
    error = capsys.readouterr().err.strip()
    assert words in error and error.count("\n") == 0 and "Traceback" not in error
    assert list(tmp_path.iterdir()) == []


def test_every_preset_that_may_be_chosen_exists():
    assert [preset(name) for name in CHOICES["model.preset"]]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def get_config(:", "SyntaxError"),
        ("import no_such_module", "no_such_module"),
        ("from recoder_jax.configuration import default", "ImportError"),
        ("def get_config():\n    return defaults()", "NameError"),
        ("def get_config():\n    return 1 / 0", "ZeroDivisionError"),
        ("x = 1", "let its function get_config begin with"),
        ("def get_config():\n    return 5", "let its function get_config begin with"),
        ("from ml_collections import ConfigDict\ndef get_config():\n    return ConfigDict({'steps': 3})", "let its function get_config begin with"),
        ("from recoder_jax.configuration import defaults\ndef get_config():\n    c = defaults()\n    c.step = 1\n    return c", "step"),
        ("from recoder_jax.configuration import defaults\ndef get_config():\n    c = defaults()\n    c.steps = 'x'\n    return c", "steps"),
    ],
)
def test_a_broken_config_file_is_named(text, words, tmp_path, capsys):
    file = tmp_path / "broken.py"
    file.write_text(text)
    assert train.main([f"--config={file}", f"--workdir={tmp_path / 'run'}"]) == 2
    error = capsys.readouterr().err.strip()
    assert str(file) in error and words in error and error.count("\n") == 0 and "Traceback" not in error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ValueError("one\n  two"), "one two"),
        (ValueError(), "ValueError"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (PermissionError(13, "Permission denied", "runs/x"), "runs/x: Permission denied"),
        (OSError("cannot read"), "cannot read"),
        (jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 9 bytes"), "lower batch.rows"),
        (RuntimeError("Unable to initialize backend 'tpu': no libtpu (set JAX_PLATFORMS='')"), "jax finds no device"),
    ],
)
def test_doors_say_one_sentence_for_what_a_user_can_mend(error, words, capsys, monkeypatch):
    def action():
        raise error

    assert door("train", action) == 2
    said = capsys.readouterr().err.strip()
    assert said.startswith(f"train: {words}" if "lower" not in words else "train: ") and words in said and "\n" not in said
    monkeypatch.setenv("RECODER_TRACEBACK", "1")
    with pytest.raises(type(error)):
        door("train", action)


@pytest.mark.parametrize("error", [RuntimeError("other"), jax.errors.JaxRuntimeError("INTERNAL: other"), TypeError("a mistake of ours")])
def test_doors_raise_what_no_user_can_mend(error):
    def action():
        raise error

    with pytest.raises(type(error)):
        door("train", action)


def test_doors_need_no_jax():
    command = "import sys, recoder_jax.doors; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", command]).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--config=configs/none.py", "--workdir=RUN"], "there is no config file"),
        ([f"--config={SFT}", "--workdir=RUN", "--config.data.dir=nowhere"], "recoder_jax.prepare"),
        ([f"--config={SFT}", "--workdir=FILE/run"], "FILE"),
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


def sections_read(expression: ast.expr, aliases: dict[str, str]) -> str | None:
    """The dotted path below a config that an expression stands for: '' for the config, 'rollout' for config.rollout or its alias."""
    if isinstance(expression, ast.Name):
        return "" if expression.id == "config" else aliases.get(expression.id)
    if not isinstance(expression, ast.Attribute):
        return None
    if expression.attr in ("config", "_config"):
        return ""
    above = sections_read(expression.value, aliases)
    return None if above is None else f"{above}.{expression.attr}".lstrip(".")


def aliases_of(scope: ast.AST) -> dict[str, str]:
    """Names that a function gives to sections: {'options': 'evaluation'} for options, mesh = config.evaluation, mesh_of(config)."""
    found = {}
    for node in ast.walk(scope):
        if isinstance(node, ast.Assign):
            target, value = node.targets[0], node.value
            pairs = zip(target.elts, value.elts) if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) else [(target, value)]
            found |= {t.id: path for t, v in pairs if isinstance(t, ast.Name) and (path := sections_read(v, found)) and path.count(".") == 0}
    return found


def keys_read(source: str) -> set[str]:
    """Dotted keys of the config that a module reads; 'optimizer.*' where it hands on a whole section."""
    found = set()
    for scope in ast.walk(ast.parse(source)):
        if isinstance(scope, ast.FunctionDef):
            aliases = aliases_of(scope)
            for node in ast.walk(scope):
                if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                    found.add(sections_read(node, aliases))
                if isinstance(node, ast.keyword) and node.arg is None:
                    found.add(f"{sections_read(node.value, aliases)}.*")
    return found


def unread(config) -> list[str]:
    # the policy's own sizes are called config too, in models
    files = [path for path in Path("recoder_jax").rglob("*.py") if path.name not in ("configuration.py", "validation.py") and "models" not in path.parts]
    read = set().union(*(keys_read(path.read_text()) for path in files))
    return [key for key in leaves(config) if key not in read and f"{key.split('.')[0]}.*" not in read]


def test_every_key_of_the_config_has_a_reader():
    assert unread(defaults()) == []


@pytest.mark.parametrize("key", ["rollout.charts_shown", "rollout.name", "sandbox.turns", "judge.temperature", "image.shape", "decay"])
def test_a_key_without_a_reader_is_found(key):
    config = defaults().unlock()
    section, _, name = key.rpartition(".")
    (config[section] if section else config)[name] = 1
    assert unread(config) == [key]


def test_fingerprint_changes_with_any_value():
    config = defaults()
    before = fingerprint(config)
    config.rollout.eta = 0.1
    assert fingerprint(config) != before
