"""The update: packed trees equal repeated prefixes, weights are global, the objective is the one that is printed."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

from recoder_jax.dialogue.turns import Prompts, feedback, opening
from recoder_jax.learning.batch import Shape, Tree, assign_rows, pack, split_tree, strand, token_weights
from recoder_jax.learning.objective import (
    Clip, group_advantages, on_policy, sequence_log_ratio, surrogate, trajectory_reward, truncated_weight,
)
from recoder_jax.learning.step import Objective, TrainState, batch_loss, make_optimizer, make_step
from recoder_jax.models.qwen2_5_vl.model import abstract_model
from recoder_jax.rollout.trajectory import supervised_tree
from tests.conftest import image_of

PROMPTS = Prompts()


def group_of(encoder, seed, suffixes=3):
    """A stage-1 group: prompt, shared first turn and its render as prefix; second turns of unequal length as suffixes."""
    rng = np.random.default_rng(seed)
    prompt = encoder.prompt(opening(image_of(seed, 56, 56), PROMPTS))
    first = encoder.response("plt.plot([1, 2])")
    given = encoder.feedback(feedback(image_of(seed + 100, 56, 84), "", PROMPTS))
    prefix = strand([(prompt, False, None), (first, False, None), (given, False, None)])
    said = [encoder.response("ax.bar" * int(rng.integers(1, 4)) + str(i)) for i in range(suffixes)]
    logprobs = [rng.normal(-1, 0.1, len(tokens)).astype(np.float32) for tokens in said]
    tails = tuple(strand([(tokens, True, values)]) for tokens, values in zip(said, logprobs))
    return Tree(prefix, tails, tuple(float(a) for a in rng.normal(size=suffixes)))


def four_turns_of(encoder, seed, suffixes=2):
    """Two shared turns, of which the first failed, and two turns of each suffix with a render and its difference between them."""
    rng, parts = np.random.default_rng(seed), []
    shared = [(encoder.prompt(opening(image_of(seed, 56, 56), PROMPTS)), False, None), (encoder.response("plt.plt([1])"), False, None)]
    shared += [(encoder.feedback(feedback(None, "AttributeError: plt", PROMPTS)), False, None), (encoder.response("plt.plot([1])"), False, None)]
    shared += [(encoder.feedback(feedback(image_of(seed + 100, 56, 84), "", PROMPTS)), False, None)]
    for i in range(suffixes):
        said = [encoder.response("ax.bar" * int(rng.integers(1, 4)) + f"{i}{turn}") for turn in (3, 4)]
        values = [rng.normal(-1, 0.1, len(tokens)).astype(np.float32) for tokens in said]
        told = encoder.feedback(feedback(image_of(seed + 7 * i, 56, 56), "", PROMPTS, image_of(seed, 56, 56)))
        parts.append(strand([(said[0], True, values[0]), (told, False, None), (said[1], True, values[1])]))
    return Tree(strand(shared), tuple(parts), tuple(float(a) for a in rng.normal(size=suffixes)))


def repeated(tree):
    """The same dialogues with the prefix repeated: one tree without suffixes for each suffix."""
    fields = [field.name for field in dataclasses.fields(tree.prefix)]

    def joined(tail):
        head = dataclasses.replace(tree.prefix, trained=np.zeros_like(tree.prefix.trained))
        parts = {name: (getattr(head, name), getattr(tail, name)) for name in fields if getattr(tail, name) is not None}
        return type(head)(**{n: a + b if isinstance(a, tuple) else np.concatenate([a, b]) for n, (a, b) in parts.items()})

    return [Tree(joined(tail), (), (advantage,)) for tail, advantage in zip(tree.suffixes, tree.advantages)]


def loss_and_gradient(policy, trees, shape, clip=None):
    batch = pack(trees, token_weights(trees, "token_mean"), shape, policy.config.image_id)

    @jax.jit
    def total(params, batch):
        def loss(params):
            parts = [jax.tree.map(lambda x, i=i: x[i], batch) for i in range(shape.micro_batches)]
            return sum(batch_loss(nnx.merge(policy.graphdef, params), part, Objective(clip, 64))[0] for part in parts)

        return jax.value_and_grad(loss)(params)

    return total(policy.params, batch)


def largest_difference(a, b):
    scale = max(float(jnp.abs(x).max()) for x in jax.tree.leaves(a))
    return max(float(jnp.abs(x - y).max()) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b))) / scale


def test_packed_tree_equals_repeated_prefixes_in_value_and_gradient(policy):
    """Of groups that branch at turn 2 of 2 and at turn 3 of 4, in one row."""
    trees = [group_of(policy.encoder, 0), four_turns_of(policy.encoder, 1)]
    size = sum(tree.size for tree in trees)
    packed = loss_and_gradient(policy, trees, Shape(1, 1, size), Clip(0.01, 0.02))
    naive = [one for tree in trees for one in repeated(tree)]
    plain = loss_and_gradient(policy, naive, Shape(1, len(naive), max(t.size for t in naive)), Clip(0.01, 0.02))
    np.testing.assert_allclose(packed[0], plain[0], rtol=1e-5)
    assert largest_difference(packed[1], plain[1]) < 1e-5


def test_splitting_a_group_over_copies_of_its_prefix_changes_nothing(policy):
    tree = group_of(policy.encoder, 0, suffixes=3)
    whole = loss_and_gradient(policy, [tree], Shape(1, 1, tree.size))
    parts = split_tree(tree, 2)
    assert [len(part.suffixes) for part in parts] == [2, 1]
    split = loss_and_gradient(policy, parts, Shape(1, 2, tree.size))
    np.testing.assert_allclose(whole[0], split[0], rtol=1e-5)
    assert largest_difference(whole[1], split[1]) < 1e-5


def test_loss_does_not_depend_on_the_number_of_micro_batches_or_rows(policy):
    trees = [group_of(policy.encoder, seed) for seed in range(4)]
    size = max(tree.size for tree in trees)
    whole = loss_and_gradient(policy, trees, Shape(1, 4, size))
    parts = loss_and_gradient(policy, trees, Shape(2, 1, 2 * size))
    np.testing.assert_allclose(whole[0], parts[0], rtol=1e-5)
    assert largest_difference(whole[1], parts[1]) < 1e-5


def test_step_with_micro_batches_updates_like_one_batch(policy):
    trees = [group_of(policy.encoder, seed) for seed in range(2)]
    size, weights = max(tree.size for tree in trees), token_weights(trees, "sequence_mean")
    optimizer, _ = make_optimizer(1e-3, 10, 0, "constant", 0.1, 1.0, 0.9, 0.95)
    step = make_step(policy.graphdef, optimizer, Objective(None, 64), None)
    results = []
    for shape in (Shape(1, 2, size), Shape(2, 1, size)):
        params = jax.tree.map(jnp.copy, policy.params)
        state = TrainState(params, optimizer.init(params), jnp.int32(0))
        results.append(step(state, pack(trees, weights, shape, policy.config.image_id)))
    (one, measured, norm, _), (two, measured2, norm2, _) = results
    # Moments are linear in the gradient. Adam divides by its size, so of weights with next to none it moves what rounding says, at most by the rate.
    assert largest_difference(one.optimizer[1][0].mu, two.optimizer[1][0].mu) < 1e-5
    assert largest_difference(one.params, two.params) < 5e-4
    np.testing.assert_allclose(norm, norm2, rtol=1e-4)
    np.testing.assert_allclose(measured.nll, measured2.nll, rtol=1e-5)
    assert int(one.step) == 1


def test_an_update_that_is_not_finite_leaves_parameters_and_moments_and_counts_as_a_step(policy):
    trees = [group_of(policy.encoder, seed) for seed in range(2)]
    batch = pack(trees, token_weights(trees, "sequence_mean"), Shape(1, 2, max(tree.size for tree in trees)), policy.config.image_id)
    spoilt = dataclasses.replace(batch, advantage=np.where(np.arange(batch.advantage.size).reshape(batch.advantage.shape) == 0, np.nan, batch.advantage))
    optimizer, _ = make_optimizer(1e-3, 10, 0, "constant", 0.1, 1.0, 0.9, 0.95)
    step = make_step(policy.graphdef, optimizer, Objective(None, 64), None)
    params = jax.tree.map(jnp.copy, policy.params)
    before = jax.tree.map(jnp.copy, optimizer.init(params))
    state, measured, norm, _ = step(TrainState(params, optimizer.init(params), jnp.int32(3)), spoilt)
    assert not np.isfinite(norm) and not np.isfinite(measured.objective) and int(state.step) == 4
    for now, then in zip(jax.tree.leaves((state.params, state.optimizer)), jax.tree.leaves((policy.params, before)), strict=True):
        np.testing.assert_array_equal(now, then)
    state, measured, norm, _ = step(state, batch)  # and the next one is as if it had not been
    assert np.isfinite(norm) and largest_difference(state.params, policy.params) > 1e-5


@pytest.fixture(scope="module")
def kept(policy):
    """Two groups, and the loss and gradient of plain attention that keeps everything for the backward pass."""
    trees = [group_of(policy.encoder, seed, suffixes=2) for seed in range(2)]
    shape = Shape(1, 2, max(tree.size for tree in trees))
    return trees, shape, loss_and_gradient(policy, trees, shape)


@pytest.mark.parametrize("remat", ["blocks", "attention"])
@pytest.mark.parametrize("attention", ["xla", "splash_interpret"])
def test_what_the_backward_pass_computes_again_changes_no_gradient(policy, kept, remat, attention):
    """Nor does the TPU's kernel, here run step by step: the update of two groups is that of plain attention with everything kept."""
    trees, shape, (loss, gradient) = kept
    sizes = dataclasses.replace(policy.config, remat=remat, attention=attention)
    again = loss_and_gradient(dataclasses.replace(policy, graphdef=nnx.graphdef(abstract_model(sizes)), config=sizes), trees, shape)
    np.testing.assert_allclose(loss, again[0], rtol=1e-5)
    assert largest_difference(gradient, again[1]) < 1e-5


@pytest.mark.parametrize("norm", [0.5, 1.0, 40.0])
def test_gradients_are_clipped_by_their_global_norm_as_optax_clips_them(policy, norm):
    optimizer, _ = make_optimizer(1e-3, 10, 0, "constant", 0.1, 1.0, 0.9, 0.95)
    gradient = jax.tree.map(lambda x: norm * x / optax.tree.norm(policy.params), policy.params)
    clipped = optax.clip_by_global_norm(1.0).update(gradient, optax.EmptyState())[0]
    moments = optimizer.update(gradient, optimizer.init(policy.params), policy.params)[1][1][0]      # the first ones are a tenth of the gradient
    np.testing.assert_allclose(optax.tree.norm(moments.mu), 0.1 * min(norm, 1.0), rtol=1e-5)
    assert largest_difference(moments.mu, jax.tree.map(lambda x: 0.1 * x, clipped)) < 1e-6


def test_first_moments_are_kept_in_the_asked_dtype(policy):
    for dtype in (jnp.float32, jnp.bfloat16):
        optimizer, _ = make_optimizer(1e-3, 10, 0, "constant", 0.1, 1.0, 0.9, 0.95, moment_dtype=jnp.dtype(dtype).name)
        moments = optimizer.init(policy.params)[1][0]
        assert {x.dtype for x in jax.tree.leaves(moments.mu)} == {jnp.dtype(dtype)}
        assert {x.dtype for x in jax.tree.leaves(moments.nu)} == {jnp.dtype(jnp.float32)}


def test_a_vision_tower_that_is_not_trained_stays_as_it_is(policy):
    tree = group_of(policy.encoder, 0)
    optimizer, _ = make_optimizer(1e-2, 10, 0, "constant", 0.1, 1.0, 0.9, 0.95, train_vision=False)
    step = make_step(policy.graphdef, optimizer, Objective(None, 64, train_vision=False), None)
    params = jax.tree.map(jnp.copy, policy.params)
    batch = pack([tree], token_weights([tree], "token_mean"), Shape(1, 1, tree.size), policy.config.image_id)
    after = step(TrainState(params, optimizer.init(params), jnp.int32(0)), batch)[0].params
    assert all(jnp.array_equal(a, b) for a, b in zip(jax.tree.leaves(after["vision"]), jax.tree.leaves(policy.params["vision"])))
    assert largest_difference(after["text"], policy.params["text"]) > 1e-3


def test_supervised_gradient_is_that_of_mean_negative_log_likelihood(policy):
    encoder = policy.encoder
    prompt = encoder.prompt(opening(image_of(0), PROMPTS))
    tree = supervised_tree(prompt, [(encoder.response("plt.plot([1])"), True)])
    batch = pack([tree], token_weights([tree], "token_mean"), Shape(1, 1, tree.size), policy.config.image_id)
    part = jax.tree.map(lambda x: jnp.asarray(x[0]), batch)

    def nll(params):
        model = nnx.merge(policy.graphdef, params)
        features = model.encode_images(part.vision)
        x = model.embed(part.tokens, features.reshape(-1, features.shape[-1]), part.image_slot)
        x = model.hidden(x, part.positions, part.segment, part.prefix)
        logprobs = jax.nn.log_softmax(model.logits(x))[0]  # [S, V]
        where = np.flatnonzero(tree.prefix.trained)
        return -jnp.mean(logprobs[where - 1, tree.prefix.ids[where]])

    expected = jax.jit(jax.grad(nll))(policy.params)
    got = jax.jit(jax.grad(lambda p: batch_loss(nnx.merge(policy.graphdef, p), part, Objective(None, 16))[0]))(policy.params)
    assert largest_difference(expected, got) < 1e-5


def test_grpo_advantages_as_printed():
    rewards = jnp.array([[1.0, 2.0, 3.0, 6.0], [0.5, 0.5, 0.5, 0.5]])
    expected = (np.array([1, 2, 3, 6]) - 3) / np.std([1, 2, 3, 6], ddof=1)
    advantages = group_advantages(rewards)
    np.testing.assert_allclose(advantages[0], expected, rtol=1e-5)
    np.testing.assert_array_equal(advantages[1], 0)
    np.testing.assert_allclose(group_advantages(rewards, normalize_std=False)[0], [-2, -1, 0, 3], rtol=1e-6)


def test_leave_one_out_compares_with_the_mean_of_the_others():
    rewards = np.array([[1.0, 2.0, 3.0, 6.0]])
    expected = [reward - np.delete(rewards[0], i).mean() for i, reward in enumerate(rewards[0])]
    advantages = group_advantages(jnp.asarray(rewards), normalize_std=False, baseline="leave_one_out")
    np.testing.assert_allclose(advantages[0], expected, rtol=1e-6)
    with pytest.raises(ValueError, match="choose mean or leave_one_out"):
        group_advantages(jnp.asarray(rewards), baseline="median")


def test_sequence_ratio_is_the_geometric_mean_of_a_response_with_its_gradient():
    """Two responses and padding in a row: value and gradient of s_i * A_i as GSPO prints them, by finite differences."""
    old = jnp.array([[-1.0, -2.0, -0.5, -1.5, -1.0, 0.0]])
    now = old + jnp.array([[0.1, -0.3, 0.2, 0.4, -0.1, 0.0]])
    strand = jnp.array([[2, 2, 3, 3, 3, 0]])
    trained = jnp.array([[True, True, True, True, True, False]])
    advantage = jnp.array([[1.0, 1.0, -2.0, -2.0, -2.0, 0.0]])
    weight = jnp.array([[1 / 2, 1 / 2, 1 / 3, 1 / 3, 1 / 3, 0.0]])

    def gain(x):
        return jnp.sum(weight * surrogate(sequence_log_ratio(x, old, strand, trained, 8), advantage, Clip(0.5, 0.5)))

    def printed(x):
        one, two = jnp.exp(jnp.mean((x - old)[0, :2])), jnp.exp(jnp.mean((x - old)[0, 2:5]))
        return one - 2 * two

    np.testing.assert_allclose(gain(now), printed(now), rtol=1e-6)
    np.testing.assert_allclose(jax.grad(gain)(now), jax.grad(printed)(now), rtol=1e-5, atol=1e-7)


def test_truncated_weight_is_the_ratio_up_to_its_bound_and_has_no_gradient():
    logprob, sampler = jnp.log(jnp.array([0.2, 0.5, 0.9])), jnp.log(jnp.array([0.4, 0.5, 0.1]))
    np.testing.assert_allclose(truncated_weight(logprob, sampler, 2.0), [0.5, 1.0, 2.0], rtol=1e-6)
    assert not jax.grad(lambda x: truncated_weight(x, sampler, 2.0).sum())(logprob).any()


def test_sequence_ratio_and_truncated_weight_reach_the_update(policy):
    tree = group_of(policy.encoder, 0)
    batch = pack([tree], token_weights([tree], "sequence_mean"), Shape(1, 1, tree.size), policy.config.image_id)
    part = jax.tree.map(lambda x: jnp.asarray(x[0]), batch)

    @jax.jit
    def losses(params):
        model = nnx.merge(policy.graphdef, params)
        wide = Clip(1.0, 1e9)
        kinds = [Objective(wide), Objective(wide, sequence_ratio=True), Objective(), Objective(truncate=1e-5), Objective(truncate=1e9)]
        return [batch_loss(model, part, kind)[0] for kind in kinds]

    token, sequence, plain, cut, weighed = map(float, losses(policy.params))
    assert len({round(value, 9) for value in (token, sequence, plain, cut)}) == 4
    np.testing.assert_allclose(weighed, token, rtol=1e-4)  # untruncated, the weight times 1 is the token ratio
    expected = -sum(a / 3 for a in tree.advantages) * 1e-5
    np.testing.assert_allclose(cut, expected, rtol=1e-4)


def test_trajectory_reward_adds_first_turn_and_rise():
    assert trajectory_reward(0.2, 0.7, 0.0, 0.0) == pytest.approx(0.7)
    assert trajectory_reward(0.2, 0.7, 0.5, 0.1) == pytest.approx(0.7 + 0.1 + 0.05)
    assert trajectory_reward(0.7, 0.2, 0.0, 1.0) == pytest.approx(0.2)


@pytest.mark.parametrize("clip", [None, Clip(0.2, 0.3), Clip(0.2, 0.3, dual=3.0)])
@pytest.mark.parametrize("advantage", [1.5, -1.5])
@pytest.mark.parametrize("logprob", [-2.0, -1.0, -0.5, 1.0])
def test_surrogate_gradient_matches_finite_differences(clip, advantage, logprob):
    old = -1.0

    def value(x):  # the on-policy ratio is 1 at the point of evaluation, so its old log probability is held at that point
        return surrogate(x - (logprob if clip is None else old), jnp.float64(advantage), clip)

    with jax.enable_x64(True):
        point = jnp.float64(logprob)
        slope = (value(point + 1e-6) - value(point - 1e-6)) / 2e-6
        gradient = jax.grad(lambda x: surrogate(on_policy(x) if clip is None else x - old, jnp.float64(advantage), clip))(point)
    np.testing.assert_allclose(gradient, slope, atol=1e-6)


def test_clip_bounds_the_objective():
    clip = Clip(0.2, 0.3, dual=3.0)
    ratios = jnp.log(jnp.array([0.5, 1.0, 2.0, 10.0]))
    up = surrogate(ratios, jnp.ones(4), clip)
    down = surrogate(ratios, -jnp.ones(4), clip)
    np.testing.assert_allclose(up, [0.5, 1.0, 1.3, 1.3], rtol=1e-6)
    np.testing.assert_allclose(down, [-0.8, -1.0, -2.0, -3.0], rtol=1e-6)


def test_weights_count_the_whole_batch(policy):
    trees = [group_of(policy.encoder, seed) for seed in range(3)]
    counts = [[int(s.trained.sum()) for s, _ in tree.strands()] for tree in trees]
    total, strands = sum(map(sum, counts)), 9
    for name, expected in [
        ("sequence_mean", lambda n: 1 / (strands * n)), ("token_mean", lambda n: 1 / total), ("constant", lambda n: 1 / (strands * 50.0)),
    ]:
        weights = token_weights(trees, name, 50.0)
        for tree, row in zip(counts, weights):
            assert row == pytest.approx([expected(n) if n else 0.0 for n in tree])
    with pytest.raises(ValueError, match="choose sequence_mean"):
        token_weights(trees, "mean")


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 200), min_size=1, max_size=40), st.integers(1, 3))
def test_every_tree_gets_one_row_and_no_row_overflows(sizes, parts):
    rows = assign_rows(sizes, Shape(parts, 5, 200))
    assert sorted(index for row in rows for index in row) == list(range(len(sizes)))
    assert all(sum(sizes[index] for index in row) <= 200 for row in rows)
    assert len(rows) % 5 == 0 and len(rows) >= 5 * parts


def test_a_tree_that_fits_no_row_is_refused_with_the_remedy():
    with pytest.raises(ValueError, match="raise batch.row_tokens"):
        assign_rows([300], Shape(1, 1, 200))
