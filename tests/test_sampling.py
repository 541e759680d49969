"""The fast path of sampling says what the naive path says: one full forward pass over the whole dialogue."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from recoder_jax.dialogue.turns import Message, Prompts, feedback, opening
from recoder_jax.learning.batch import Shape, Tree, pack, strand
from recoder_jax.learning.step import target_logprobs
from recoder_jax.sampling.engine import Buckets, Sampler, row_keys
from tests.conftest import image_of

PROMPTS = Prompts()


@pytest.fixture(scope="module")
def sampler(policy):
    return Sampler(policy.graphdef, policy.config, policy.encoder, Buckets(tokens=16))


def naive_logprobs(policy, parts):
    """Log probabilities of the trained parts of one dialogue by one forward pass over all its tokens."""
    tree = Tree(strand(parts), (), (1.0,))
    batch = pack([tree], [[1.0]], Shape(1, 1, -(-tree.size // 128) * 128), policy.config.image_id)
    batch = jax.tree.map(lambda x: x[0], batch)

    @jax.jit
    def forward(params, batch):
        model = nnx.merge(policy.graphdef, params)
        features = model.encode_images(batch.vision)
        x = model.embed(batch.tokens, features.reshape(-1, features.shape[-1]), batch.image_slot)
        x = model.hidden(x, batch.positions, batch.segment, batch.prefix)
        return target_logprobs(model, jnp.take_along_axis(x, batch.source[..., None], axis=1), batch.target, 1024)[0]

    logprobs = forward(policy.params, batch)
    return np.asarray(logprobs)[0, : int(tree.prefix.trained.sum())]


def test_two_turns_with_a_shared_first_turn_match_a_forward_pass(policy, sampler):
    encoder, group, steps = policy.encoder, 3, 12
    prompts = [encoder.prompt(opening(image_of(0, 56, 84), PROMPTS)), encoder.prompt(opening(image_of(1, 56, 28), PROMPTS))]
    charts = jnp.arange(2)
    cache = sampler.branch(sampler.start(policy.params, prompts), 1, steps + 192)
    cache, first = sampler.decode(policy.params, cache, row_keys(0, 0, charts, 1, 1), steps, 1.0)
    given = [encoder.feedback(feedback(image_of(2, 84, 56), "", PROMPTS)), encoder.feedback(feedback(None, "ValueError: x", PROMPTS))]
    cache = sampler.append(policy.params, cache, [[piece] for piece in given])
    cache = sampler.branch(cache, group, steps)
    cache, second = sampler.decode(policy.params, cache, row_keys(0, 0, charts, 2, group), steps, 1.0)
    for b in range(2):
        o1 = first.tokens[b, 0, : first.length[b, 0]]
        head = [(prompts[b], False, None), (type(prompts[b])(o1), True, None), (given[b], False, None)]
        for g in range(group):
            o2 = second.tokens[b, g, : second.length[b, g]]
            expected = naive_logprobs(policy, [*head, (type(prompts[b])(o2), True, None)])
            got = np.concatenate([first.logprobs[b, 0, : len(o1)], second.logprobs[b, g, : len(o2)]])
            np.testing.assert_allclose(got, expected, atol=2e-5)
    assert len({tuple(row) for row in second.tokens[0]}) == group


def test_what_a_row_says_does_not_depend_on_the_rows_beside_it(policy, sampler):
    prompts = [policy.encoder.prompt(opening(image_of(seed), PROMPTS)) for seed in range(4)]

    def say(indices, group):
        cache = sampler.branch(sampler.start(policy.params, [prompts[i] for i in indices]), group, 10)
        return sampler.decode(policy.params, cache, row_keys(7, 3, jnp.array(indices), 1, group), 10, 1.0)[1].tokens

    together = say([0, 1, 2, 3], 4)
    alone = say([2], 2)
    np.testing.assert_array_equal(together[2, :2], alone[0])


def test_image_of_turn_one_changes_turn_two(policy, sampler):
    encoder, steps = policy.encoder, 6
    prompt = encoder.prompt(opening(image_of(0), PROMPTS))

    def say(image):
        cache = sampler.branch(sampler.start(policy.params, [prompt]), 1, 2 * steps + 192)
        cache, _ = sampler.decode(policy.params, cache, row_keys(0, 0, jnp.arange(1), 1, 1), steps, 0.0)
        cache = sampler.append(policy.params, cache, [[encoder.feedback(Message("user", (image, PROMPTS.revise)))]])
        return np.asarray(cache.last)

    assert np.abs(say(image_of(5)) - say(image_of(6))).max() > 1e-3


def test_special_ids_are_never_drawn_and_rows_end_at_the_end_token(policy, sampler):
    prompts = [policy.encoder.prompt(opening(image_of(seed), PROMPTS)) for seed in range(2)]
    cache = sampler.branch(sampler.start(policy.params, prompts), 16, 200)
    _, said = sampler.decode(policy.params, cache, row_keys(0, 0, jnp.arange(2), 1, 16), 200, 3.0)
    forbidden = set(policy.encoder.forbidden_ids(policy.config.text.vocab).tolist())
    for b, g in np.ndindex(2, 16):
        tokens = said.tokens[b, g, : said.length[b, g]]
        assert not forbidden & set(tokens.tolist())
        assert (policy.encoder.end_id in tokens[:-1].tolist()) is False
        assert bool(said.ended[b, g]) == (tokens[-1] == policy.encoder.end_id)


def test_greedy_takes_the_likeliest_allowed_token(policy, sampler):
    prompt = policy.encoder.prompt(opening(image_of(0), PROMPTS))
    cache = sampler.branch(sampler.start(policy.params, [prompt]), 1, 4)
    model = nnx.merge(policy.graphdef, policy.params)
    logits = np.array(model.logits(cache.last))[0, 0]
    logits[policy.encoder.forbidden_ids(policy.config.text.vocab)] = -np.inf
    _, said = sampler.decode(policy.params, cache, row_keys(0, 0, jnp.arange(1), 1, 1), 4, 0.0)
    assert said.tokens[0, 0, 0] == logits.argmax()


def test_writing_past_the_last_slot_is_refused(policy, sampler):
    cache = sampler.branch(sampler.start(policy.params, [policy.encoder.prompt(opening(image_of(0), PROMPTS))]), 1, 16)
    with pytest.raises(ValueError, match="17 more tokens do not fit"):
        sampler.decode(policy.params, cache, row_keys(0, 0, jnp.arange(1), 1, 1), 17, 1.0)
