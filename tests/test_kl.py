"""KL to the policy a run started from: estimators against sums over all tokens, its way through packing, loss and reward."""

import dataclasses
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from recoder_jax import train
from recoder_jax.dialogue.turns import Prompts, opening
from recoder_jax.learning.batch import Shape, layout, pack, token_weights, unpack
from recoder_jax.learning.objective import kl_estimate, overlong, trajectory_reward
from recoder_jax.learning.step import Objective, batch_loss, make_scorer
from recoder_jax.rollout.anchors import Anchor, valued
from recoder_jax.rollout.play import Plan
from recoder_jax.rollout.trajectory import Group, Trajectory, Turn
from tests.conftest import image_of
from tests.test_learning import group_of
from tests.test_train import SMALL_RL

LOGITS, REFERENCE = jnp.array([0.3, -1.0, 0.8, 0.0]), jax.nn.log_softmax(jnp.array([0.1, 0.2, -0.5, 0.4]))


def divergence(p, q):
    return jnp.sum(jnp.exp(p) * (p - q))


@pytest.mark.parametrize("estimator", ["k1", "k3"])
def test_k1_and_k3_are_unbiased(estimator):
    logp = jax.nn.log_softmax(LOGITS)
    mean = jnp.sum(jnp.exp(logp) * kl_estimate(logp, REFERENCE, estimator))
    np.testing.assert_allclose(mean, divergence(logp, REFERENCE), rtol=1e-5)
    assert estimator == "k1" or float(kl_estimate(logp, REFERENCE, estimator).min()) >= 0


@pytest.mark.parametrize(("estimator", "wanted"), [
    ("k1", lambda x: 0.0 * x.sum()), ("k2", lambda x: divergence(jax.nn.log_softmax(x), REFERENCE)),
    ("k3", lambda x: divergence(REFERENCE, jax.nn.log_softmax(x))),
])
def test_gradients_in_the_loss_are_on_average_what_the_docstring_says(estimator, wanted):
    """The mean over all tokens that could be drawn, with the probabilities held as sampling holds them."""
    drawn = jax.lax.stop_gradient(jax.nn.softmax(LOGITS))
    got = jax.grad(lambda x: jnp.sum(drawn * kl_estimate(jax.nn.log_softmax(x), REFERENCE, estimator)))(LOGITS)
    np.testing.assert_allclose(got, jax.grad(wanted)(LOGITS), atol=1e-6)


def test_k1_in_the_reward_gives_the_gradient_of_kl():
    drawn = jax.lax.stop_gradient(jax.nn.softmax(LOGITS))
    price = kl_estimate(jax.nn.log_softmax(LOGITS), REFERENCE, "k1")
    got = jax.grad(lambda x: jnp.sum(drawn * price * jax.nn.log_softmax(x)))(LOGITS)
    np.testing.assert_allclose(got, jax.grad(lambda x: divergence(jax.nn.log_softmax(x), REFERENCE))(LOGITS), atol=1e-6)


def test_scores_of_trained_tokens_come_back_to_their_strands(policy):
    """Over micro-batches and rows: what the scorer says of a strand is what it says of the strand's tree alone."""
    trees = [group_of(policy.encoder, seed, suffixes=2 + seed % 2) for seed in range(4)]
    score = make_scorer(policy.graphdef, Objective(None, 64))

    def scored(trees, shape):
        batch = pack(trees, token_weights(trees, "token_mean"), shape, policy.config.image_id)
        return unpack(np.asarray(score(policy.params, batch)), trees, layout(trees, shape))

    size = max(tree.size for tree in trees)
    together = scored(trees, Shape(2, 2, size))
    for tree, found in zip(trees, together, strict=True):
        alone = scored([tree], Shape(1, 1, size))[0]
        assert [len(values) for values in found] == [len(strand.ids) for strand, _ in tree.strands()]
        assert not found[0].any() and all(values.all() for values in found[1:])
        for one, other in zip(found, alone, strict=True):
            np.testing.assert_allclose(one, other, atol=2e-5)


@pytest.mark.parametrize("estimator", ["k2", "k3"])
def test_kl_in_the_loss_is_its_weighted_sum_and_its_gradient_matches_finite_differences(policy, estimator):
    tree = group_of(policy.encoder, 3)
    reference = [strand.logprobs - 0.3 for strand in tree.suffixes]
    tails = [dataclasses.replace(s, reference=r, anchor=np.float32(0.7) * s.trained) for s, r in zip(tree.suffixes, reference, strict=True)]
    tree = dataclasses.replace(tree, suffixes=tuple(tails))
    batch = pack([tree], token_weights([tree], "sequence_mean"), Shape(1, 1, tree.size), policy.config.image_id)
    part = jax.tree.map(lambda x: x[0], batch)
    with_kl, without = Objective(None, 64, kl=estimator, kl_in_loss=True), Objective(None, 64, kl=estimator)

    def losses(scale):
        params = jax.tree.map(lambda x: x * scale, policy.params)
        model = nnx.merge(policy.graphdef, params)
        return jnp.stack([batch_loss(model, part, kind)[0] for kind in (with_kl, without)])

    def logprobs(scale):
        params = jax.tree.map(lambda x: x * scale, policy.params)
        return make_scorer(policy.graphdef, with_kl)(params, batch)[0]

    def added(scale):
        return jnp.sum(part.weight * part.anchor * kl_estimate(logprobs(scale), part.reference, estimator))

    one = jnp.float32(1.0)
    values, slopes = jax.jit(lambda s: (losses(s), jax.jacfwd(losses)(s)))(one)
    np.testing.assert_allclose(values[0] - values[1], added(one), rtol=1e-4)
    step = 3e-3
    np.testing.assert_allclose(slopes[0] - slopes[1], (added(one + step) - added(one - step)) / (2 * step), rtol=2e-2)


def group_of_turns(policy):
    """Three trajectories whose first turns have 2, 3 and 4 tokens, their second turns 4."""

    def turn(number, count):
        return Turn(number, np.full(count, 300 + number, np.int32), np.full(count, -1.0, np.float32), True, None, None, None, None)

    prompt = policy.encoder.prompt(opening(image_of(0), Prompts()))
    return Group(None, prompt, 1, tuple(Trajectory((turn(1, 2 + i), turn(2, 4)), 0.0) for i in range(3)))


def test_first_turns_are_held_more_and_rewards_pay_the_sum(policy):
    group = group_of_turns(policy)
    tree = group.tree([0.0] * 3)
    parts = [dataclasses.replace(tree, suffixes=tree.suffixes[a:b], advantages=tree.advantages[a:b]) for a, b in ((0, 2), (2, 3))]

    def reference(trees):
        return [[np.where(s.trained, -1.5, 0).astype(np.float32) for s, _ in t.strands()] for t in trees]

    anchor = Anchor(reference, weight=0.1, first_turn=0.4, in_reward=True, estimator="k1")
    tied = anchor.tied([group], [parts])
    strands = [strand for part in tied[0] for strand in part.suffixes]
    for index, strand in enumerate(strands):
        np.testing.assert_allclose(strand.anchor, [0.5] * (2 + index) + [0.1] * 4)
    np.testing.assert_allclose(anchor.penalties(tied), [[0.5 * (0.5 * (2 + i) + 0.1 * 4) for i in range(3)]], rtol=1e-6)
    assert [t.advantages for t in valued(tied[0], np.array([1.0, 2.0, 3.0]))] == [(1.0, 2.0), (3.0,)]


def test_bonus_and_punishment_are_those_of_their_papers():
    assert trajectory_reward(0.6, 0.2, 1.0, 2.0, "change") == pytest.approx(0.6 + 0.2 + 2 * (0.2 - 0.6))
    assert trajectory_reward(0.6, 0.2, 1.0, 2.0) == pytest.approx(0.8)
    assert [overlong(n, 100, 20) for n in (10, 80, 90, 100)] == [0, 0, -0.5, -1]
    plan = Plan(2, 1, 2, 100, 10, 1.0, overlong_tokens=20, overlong_penalty=0.5)
    assert plan.punishment([90, 100]) == pytest.approx(-0.375)
    assert Plan(2, 1, 2, 100, 10, 1.0).punishment([100]) == 0


def test_a_run_is_held_to_the_policy_it_started_from(world, tmp_path):
    """The first step finds KL 0, the second more, for decay moves weights whatever rewards are; a resumed run reads the reference that the first one
    kept."""
    run = tmp_path / "score"
    small = [f"--config.data.dir={world}", f"--workdir={run}", *SMALL_RL, "--config.optimizer.warmup=0", "--config.optimizer.learning_rate=0.01"]
    small += ["--config.optimizer.weight_decay=10.0"]
    for steps in (2, 3):
        assert train.main(["--config=configs/tiny/score_stage1.py", *small, f"--config.steps={steps}"]) == 0
    rows = [json.loads(line) for line in Path(run, "metrics.jsonl").read_text().splitlines()]
    assert rows[0]["loss/kl"] < 1e-6 < 1e-4 < rows[1]["loss/kl"] and rows[2]["loss/kl"] > 1e-4
    assert rows[0]["loss/ratio_q50"] == pytest.approx(1, abs=1e-3) and 0 < rows[0]["batch/padding"] < 1
    assert Path(run, "reference").is_dir()
