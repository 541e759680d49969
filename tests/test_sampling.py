"""The engine says what the naive path says, one full forward pass over each whole dialogue, wherever and beside whomever a row is played."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from recoder_jax.dialogue.encoder import Tokens
from recoder_jax.dialogue.turns import Message, Prompts, feedback, opening
from recoder_jax.learning.batch import Shape, Tree, pack, strand
from recoder_jax.learning.step import target_logprobs
from recoder_jax.sampling.drawing import Controls
from recoder_jax.sampling.engine import Engine
from recoder_jax.sampling.functions import Sampler, room_for
from recoder_jax.sampling.layout import Buckets
from recoder_jax.sampling.places import Request
from tests.conftest import image_of

PROMPTS = Prompts()
RESPONSE, FEEDBACK, PROMPT = 12, 160, 128
BUCKETS = Buckets(tokens=16)


@pytest.fixture(scope="module")
def sampler(policy):
    return Sampler(policy.graphdef, policy.config, policy.encoder, BUCKETS)


def room(turns=1, shared=0, places=2, rows=3, lanes=2, chunk=5, response=RESPONSE, **given):
    return room_for(places, rows, turns, shared, PROMPT, response, FEEDBACK, lanes, chunk, BUCKETS, **given)


def prompt_of(policy, seed, height=56, width=84):
    return policy.encoder.prompt(opening(image_of(seed, height, width), PROMPTS))


def reply_of(policy, chart, row, turn, ended):
    """Feedback that differs from row to row: a render, or an error of another length."""
    end = Tokens(np.array([] if ended else [policy.encoder.end_id], np.int32))
    kind = (chart + row + turn) % 3
    message = feedback(image_of(100 * chart + row, 84, 56), "", PROMPTS) if kind else feedback(None, "ValueError: " + "x" * (5 + row), PROMPTS)
    return end + policy.encoder.feedback(message)


def play(policy, params, sampler, sizes, requests, turns=1, reply=reply_of, most=500):
    """All dialogues as lists of parts: {(chart, row): [(Said or Tokens), ...]} without the prompt."""
    engine, said = Engine(sampler, params, sizes), {}
    for request in requests:
        engine.submit(request)
    steps = 0
    while engine.busy:
        steps += 1
        assert steps < most
        for one in engine.step():
            chart = one.request.identity[2]
            shared = one.turn <= one.request.shared
            said[chart, one.row, one.turn] = one
            if one.turn == turns:
                engine.release(one.request, one.row)
                continue
            piece = reply(policy, chart, one.row, one.turn, one.ended)
            said[chart, one.row, one.turn, "feedback"] = piece
            engine.feed(one.request, one.row, piece)
            assert not shared or one.row == 0
    return said


def dialogue(said, request, row, turns):
    """(tokens, trained, None) of one dialogue, and what sampling says of its responses."""
    chart, parts, logprobs = request.identity[2], [(request.prompt, False, None)], []
    for turn in range(1, turns + 1):
        at = 0 if turn <= request.shared else row
        one = said[chart, at, turn]
        parts.append((Tokens(one.tokens), True, None))
        logprobs.append(one.logprobs)
        if turn < turns:
            parts.append((said[chart, at, turn, "feedback"], False, None))
    return parts, np.concatenate(logprobs)


@pytest.fixture(scope="module")
def naive(policy):
    """Log probabilities of the trained parts of dialogues, by one forward pass over all tokens of each."""

    @jax.jit
    def forward(params, batch):
        model = nnx.merge(policy.graphdef, params)
        features = model.encode_images(batch.vision)
        x = model.embed(batch.tokens, features.reshape(-1, features.shape[-1]), batch.image_slot)
        x = model.hidden(x, batch.positions, batch.segment, batch.prefix)
        return target_logprobs(model, jnp.take_along_axis(x, batch.source[..., None], axis=1), batch.target, 1024)

    def logprobs(params, dialogues):
        trees = [Tree(strand(parts), (), (1.0,)) for parts in dialogues]
        longest = max(tree.size for tree in trees)
        found = []
        for tree in trees:
            batch = pack([tree], [[1.0]], Shape(1, 1, -(-longest // 256) * 256, least_trained=64, least_images=4), policy.config.image_id)
            found.append(np.asarray(forward(params, jax.tree.map(lambda x: x[0], batch))[0])[0, : int(tree.prefix.trained.sum())])
        return found

    return logprobs


@pytest.fixture(scope="module")
def params(policy):
    """Weights that say the end token now and then: its row of the tied table is longer."""
    state = jax.tree.map(lambda x: x, policy.params)
    table = state["text"]["embedding"]
    table.set_value(table.get_value().at[policy.encoder.end_id].multiply(4.0))
    return state


@pytest.mark.parametrize("turns, shared", [(2, 1), (2, 0), (4, 2)])
def test_every_tree_matches_a_forward_pass_over_its_dialogues(policy, params, sampler, naive, turns, shared):
    """More charts than places, images and errors as feedback, responses of all lengths, chunks that end within them."""
    requests = [
        Request(prompt_of(policy, chart, 56, 28 * (1 + chart % 3)), (0, 0, chart), RESPONSE, rows=3, shared=shared) for chart in range(4)
    ]  # fmt: skip
    said = play(policy, params, sampler, room(turns, shared), requests, turns)
    found = [dialogue(said, request, row, turns) for request in requests for row in range(3)]
    for (_, got), expected in zip(found, naive(params, [parts for parts, _ in found]), strict=True):
        np.testing.assert_allclose(got, expected, atol=2e-5)
    assert len({tuple(said[0, row, turns].tokens) for row in range(3)}) == 3
    responses = [one for key, one in said.items() if len(key) == 3]
    assert len({len(one.tokens) for one in responses}) > 2 and {one.ended for one in responses} == {True, False}
