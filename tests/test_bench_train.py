"""Promises of `bench train`: the figures it names, one loss in both frameworks, the arithmetic of utilisation, one sentence for bad input."""

import dataclasses
import json
from contextlib import redirect_stdout
from io import StringIO

import pytest

from recoder_jax.bench import __main__ as door
from recoder_jax.bench import train
from recoder_jax.bench.machine import Elsewhere

SMALL = ["--image=28x56", "--config.batch.size=2", "--config.batch.rows=2", "--config.batch.row_tokens=40", "--config.model.unroll=1"]
FIGURES = {
    "subject", "name", "config", "kind", "preset", "parameters", "dtype", "param_dtype", "remat", "unroll", "device", "devices", "mesh",
    "environment", "batch", "compile_seconds", "pack_seconds", "seconds", "tokens_per_s", "trained_tokens_per_s", "flops_per_s",
    "peak_flops_per_s", "mfu", "warmup", "steps", "notes", "machine", "memory", "elsewhere", "losses", "against",
}


def printed(*arguments: str) -> dict:
    """What `bench train` prints as JSON."""
    with redirect_stdout(StringIO()) as out:
        assert door.main(["train", *arguments, "--json"]) == 0
    return json.loads(out.getvalue())


@pytest.fixture(scope="module")
def raced():
    """A small SFT update beside torch's, two micro-batches and weights of sequences."""
    pytest.importorskip("torch")
    return printed(
        "--config=configs/tiny/sft.py", *SMALL, "--against=torch", "--steps=2", "--warmup=1", "--config.batch.rows=1",
        "--config.batch.micro_batches=2", "--config.objective.aggregation=sequence_mean",
    )


def test_the_result_holds_the_figures_and_they_fit_together(raced):
    assert set(raced) == FIGURES
    work, seconds = raced["batch"], raced["seconds"]
    assert 0 < seconds["min"] <= seconds["median"] <= seconds["max"] and seconds["cores"] > 0
    assert raced["tokens_per_s"] == pytest.approx(work["tokens"] / seconds["median"])
    assert raced["trained_tokens_per_s"] == pytest.approx(work["trained_tokens"] / seconds["median"])
    assert raced["flops_per_s"] == pytest.approx(work["flops"] / seconds["median"])
    assert work["tokens"] == 80 and 0 < work["trained_tokens"] < 80 and work["filled"] == 1 and work["micro_batches"] == 2
    assert raced["mfu"] is None and raced["peak_flops_per_s"] is None  # a CPU has no stated peak
    assert raced["memory"]["bytes"] > 2**26 and 0 <= raced["elsewhere"] <= 1
    assert {"jax", "flax", "optax", "torch"} <= set(raced["machine"]["versions"])


def test_both_frameworks_make_the_same_update(raced):
    """The loss and the gradient before the first update, and the loss before the last one, which updates of two have changed."""
    ours, theirs = raced["losses"], raced["against"]["losses"]
    assert ours["first"] == pytest.approx(theirs["first"], rel=1e-5)
    assert ours["first_gradient_norm"] == pytest.approx(theirs["first_gradient_norm"], rel=1e-4)
    assert ours["last"] == pytest.approx(theirs["last"], rel=1e-4) and ours["last"] != pytest.approx(ours["first"], rel=1e-4)


def test_torch_runs_its_faster_variant_and_the_ratio_is_of_the_medians(raced):
    other = raced["against"]
    assert set(other["trials"]) >= {"sdpa, fused", "eager, fused"} and len(other["trials"]) == 3
    assert min(other["trials"], key=other["trials"].get) == other["way"].replace(" attention", "").removesuffix(" AdamW")
    assert other["ratio"] == pytest.approx(other["seconds"]["median"] / raced["seconds"]["median"])
    text = train.table(raced)
    assert text.count("\n| ") == 3 and f"{other['ratio']:.2f} times as long" in text


def test_an_update_of_rl_is_measured_with_its_profile_beside_the_naive_one(tmp_path):
    result = printed(
        "--config=configs/tiny/stage1_shared_first_turn.py", "--against=naive", "--steps=1", "--warmup=1", f"--profile={tmp_path}", "--image=28x28",
        "--config.batch.size=2", "--config.rollout.charts=2", "--config.rollout.group=2", "--config.rollout.response_tokens=8",
        "--config.rollout.feedback_tokens=72", "--config.batch.rows=1", "--config.batch.row_tokens=128", "--config.batch.least_trained=16",
        "--config.batch.least_images=4", "--config.model.unroll=1",
    )
    assert result["kind"] == "rl" and result["batch"]["trees"] == 2
    assert result["batch"]["trained_tokens"] == 2 * 2 * 8  # trees, suffixes, tokens
    assert list(tmp_path.rglob("*.xplane.pb"))
    naive = result["against"]
    assert naive["tokens"] == 2 * result["batch"]["tokens"] - 2 * 2 * 8  # the prefix of each of two groups once more, the responses as often
    assert naive["losses"]["first"] == pytest.approx(result["losses"]["first"], rel=1e-5)
    assert naive["losses"]["first_gradient_norm"] == pytest.approx(result["losses"]["first_gradient_norm"], rel=1e-3)
    assert "groups" in train.table(result) and "times the tokens" in train.table(result)


def test_utilisation_is_flops_over_what_the_chips_could_do():
    from recoder_jax.bench.update import utilisation
    from recoder_jax.planning.machines import Chip

    chip = Chip("made up", flops=2e12, memory=1, bandwidth=1.0, links=1.0)
    assert utilisation(flops=6e12, seconds=1.5, chip=chip, chips=4) == pytest.approx(0.5)
    assert utilisation(flops=6e12, seconds=1.5, chip=None, chips=4) is None


def test_responses_and_patches_differ_between_dialogues(policy):
    """Equal dialogues would hide a row that is read for another one."""
    from recoder_jax.bench.update import filled
    from recoder_jax.configuration import defaults
    from recoder_jax.planning.stand_ins import trees_of

    config = defaults()
    trees = filled(trees_of(config, policy.encoder, 1), policy.encoder, 0)
    one, other = trees[0].prefix, trees[1].prefix
    assert (one.ids[~one.trained] == other.ids[~one.trained]).all() and (one.ids != other.ids).any()
    assert (one.images[0].values != other.images[0].values).any()
    special = {policy.encoder.image_id, policy.encoder.end_id, policy.encoder.pad_id}
    assert not special & set(one.ids[one.trained].tolist())


def test_updates_of_different_losses_are_not_compared():
    from recoder_jax.bench.update import Step

    one = Step(seconds=1.0, core_seconds=1.0, loss=7.0, gradient_norm=1.0)
    train.check_equal(one, dataclasses.replace(one, loss=7.0005, gradient_norm=1.1), "torch")  # they clip and sum in other ways
    for other, name in [({"loss": 7.001}, "torch"), ({"loss": 7.001}, "naive"), ({"gradient_norm": 1.1}, "naive")]:
        with pytest.raises(ValueError, match="not the same update"):
            train.check_equal(one, dataclasses.replace(one, **other), name)


def test_the_share_of_others_is_a_share():
    elsewhere = Elsewhere()
    sum(range(10**6))
    assert elsewhere.share() is None or 0 <= elsewhere.share() <= 1


@pytest.mark.parametrize("arguments, sentence", [
    (["--steps=0"], "--steps is 0; give at least 1"),
    (["--warmup=0"], "--warmup is 0; give at least 1"),
    (["--turns=0"], "--turns is 0; give at least 1"),
    (["--image=224"], "--image is '224'; write height and width"),
    (["--config.model.present=7b"], "an override of the config"),
    (["--repeat=3"], "unknown argument '--repeat=3'"),
    (["--turns=9"], "no room for responses"),
    (["--against=torch", "--config.model.dtype=bfloat16"], "compares in float32"),
    (["--against=torch", "--config.kind=rl", "--config.rollout.charts=1"], "give an SFT config"),
    (["--against=naive"], "give an RL config with a group"),
])
def test_bad_input_ends_with_2_and_a_sentence(arguments, sentence, capsys):
    assert door.main(["train", "--config=configs/tiny/sft.py", *arguments]) == 2
    said = capsys.readouterr().err
    assert sentence in said and said.count("\n") == 1


def test_without_torch_a_sentence_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert door.main(["train", "--config=configs/tiny/sft.py", "--against=torch"]) == 2
    assert "torch is not installed" in capsys.readouterr().err


def test_other_subjects_refuse_what_they_do_not_know(capsys):
    with pytest.raises(SystemExit) as end:
        door.main(["rewards", "--config.a=1"])
    assert end.value.code == 2 and "unrecognized arguments: --config.a=1" in capsys.readouterr().err


def test_the_rate_of_the_host_stands_beside_what_a_step_consumes(capsys):
    """Dialogues fill the rows: two turns of two images each, one host's half of the batch."""
    more = ["data", "--config=configs/tiny/sft.py", "--turns=2", "--image=56x84", "--hosts=2", "--batches=2", "--config.batch.size=4", "--config.batch.rows=4"]
    assert door.main([*more, "--step-seconds=10", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["dialogues"], found["images"], found["image"]) == (2, 4, [56, 84]) and found["lines"] >= 1
    assert 0.8 < found["filled"] <= 1 and found["tokens"] == pytest.approx(2 * 144 * found["filled"])
    assert found["tokens_per_s"] == pytest.approx(found["tokens"] / found["seconds"]["median"]) and found["pack_seconds"]["median"] > 0
    assert found["times"] == pytest.approx(found["dialogues_per_s"] / found["consumed_dialogues_per_s"])
    for wrong, words in ((["--hosts=3"], "does not divide batch.size"), (["--image=448x448"], "raise it, or give"), (["--batches=0"], "give numbers above 0")):
        assert door.main([*more, *wrong]) == 2 and words in capsys.readouterr().err
    assert door.main(["data", "--config=configs/tiny/stage1_shared_first_turn.py"]) == 2 and "give one of kind sft" in capsys.readouterr().err
