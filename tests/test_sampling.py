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
from recoder_jax.models.qwen2_5_vl.layers import FEW, product
from recoder_jax.models.weights import layer_row, turned
from recoder_jax.sampling import budget
from recoder_jax.sampling.drawing import Controls, draw, threshold
from recoder_jax.sampling.engine import Engine
from recoder_jax.sampling.functions import Sampler, largest, room_for
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


def play(policy, params, sampler, sizes, requests, turns=1, reply=reply_of, most=500, watch=lambda engine: None):
    """All dialogues as lists of parts: {(chart, row): [(Said or Tokens), ...]} without the prompt."""
    engine, said = Engine(sampler, params, sizes), {}
    for request in requests:
        engine.submit(request)
    steps = 0
    while engine.busy:
        steps += 1
        assert steps < most
        watch(engine)
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


@pytest.mark.parametrize("turns, shared", [(2, (0,)), (4, (0, 1, 2, 3))])
def test_every_tree_matches_a_forward_pass_over_its_dialogues(policy, params, sampler, naive, turns, shared):
    """More charts than places, images and errors as feedback, responses of all lengths, chunks that end within them; also where the trees
    branch at different turns."""
    requests = [
        Request(prompt_of(policy, chart, 56, 28 * (1 + chart % 3)), (0, 0, chart), RESPONSE, rows=3, shared=shared[chart % len(shared)])
        for chart in range(4)
    ]  # fmt: skip
    said = play(policy, params, sampler, largest(room(turns, n) for n in shared), requests, turns)
    found = [dialogue(said, request, row, turns) for request in requests for row in range(3)]
    for (_, got), expected in zip(found, naive(params, [parts for parts, _ in found]), strict=True):
        np.testing.assert_allclose(got, expected, atol=2e-5)
    assert len({tuple(said[0, row, turns].tokens) for row in range(3)}) == 3
    responses = [one for key, one in said.items() if len(key) == 3]
    assert len({len(one.tokens) for one in responses}) > 2 and {one.ended for one in responses} == {True, False}


def test_place_batch_and_chunk_do_not_change_what_a_row_says(policy, params, sampler):
    """The same trees alone and among others, on one place and on four, two rows and three, in chunks of 1, 5 and 12 tokens."""
    def requests(charts, rows):
        return [Request(prompt_of(policy, chart, 56, 28 * (1 + chart % 3)), (3, 7, chart), RESPONSE, rows=rows) for chart in charts]

    whole = play(policy, params, sampler, room(2, places=4, lanes=4), requests(range(6), 3), 2)
    for places, lanes, chunk, charts, rows in ((1, 1, 1, (4, 2), 2), (2, 1, 12, (5, 0, 2), 3)):
        part = play(policy, params, sampler, room(2, places=places, rows=3, lanes=lanes, chunk=chunk), requests(charts, rows), 2)
        assert len(part) == len(charts) * rows * 3
        for key, one in part.items():
            if len(key) == 3:
                np.testing.assert_array_equal(one.tokens, whole[key].tokens)
                np.testing.assert_allclose(one.logprobs, whole[key].logprobs, atol=2e-5)
    other = play(policy, params, sampler, room(2, places=4, lanes=4), [dataclasses.replace(r, identity=(3, 8, 0)) for r in requests((0,), 3)], 2)
    assert any(not np.array_equal(other[0, row, 1].tokens, whole[0, row, 1].tokens) for row in range(3))


def test_trees_that_branch_at_other_turns_do_not_change_what_a_row_says(policy, params, sampler):
    """Each of four trees beside the others, and alone."""
    requests = [Request(prompt_of(policy, chart, 56, 28 * (1 + chart % 3)), (3, 7, chart), RESPONSE, rows=3, shared=chart) for chart in range(4)]
    sizes = largest(room(4, shared) for shared in range(4))
    mixed = play(policy, params, sampler, sizes, requests, 4)
    for request in requests:
        alone = play(policy, params, sampler, sizes, [request], 4)
        assert len([key for key in alone if len(key) == 3]) == request.shared + 3 * (4 - request.shared)
        for key, one in alone.items():
            if len(key) == 3:
                np.testing.assert_array_equal(one.tokens, mixed[key].tokens)
                np.testing.assert_allclose(one.logprobs, mixed[key].logprobs, atol=2e-5)


@pytest.fixture(scope="module")
def apart(policy):
    return Sampler(policy.graphdef, policy.config, policy.encoder, BUCKETS, apart=True)


@pytest.mark.parametrize("rows, int8", [(3, False), (3, True), (1, False)])
def test_blocks_taken_apart_say_what_their_stack_says(policy, params, sampler, apart, rows, int8):
    """Three charts on two places, in two turns; of single rows, prefix and suffix are one while a chunk is decoded. In int8 a number next
    to the middle of two steps is rounded to either."""
    requests = [Request(prompt_of(policy, chart), (0, 0, chart), RESPONSE, rows=rows) for chart in range(3)]
    loaded = apart.load(params)
    assert len(loaded["text"]["blocks"]) == policy.config.text.layers
    sizes = room(2, rows=rows, int8=int8)
    ours, expected = (play(policy, weights, one, sizes, requests, 2) for one, weights in ((apart, loaded), (sampler, params)))
    assert ours.keys() == expected.keys()
    for key, one in ours.items():
        if len(key) == 3:
            np.testing.assert_array_equal(one.tokens, expected[key].tokens)
            np.testing.assert_allclose(one.logprobs, expected[key].logprobs, atol=2e-4 if int8 else 2e-5)


@pytest.mark.parametrize("rows", [1, FEW, FEW + 1])
def test_a_turned_matrix_multiplies_like_the_matrix(policy, rows):
    block = nnx.merge(policy.graphdef, policy.params).text.blocks
    for weight, inputs in ((block.q, 1), (block.o, 3), (block.mlp.down, 1)):
        one = weight.copy(weight[...][0], row=layer_row(weight.get_metadata()["row"], 0))
        x = jax.random.normal(jax.random.key(rows), (rows, *one[...].shape[:inputs]))
        np.testing.assert_allclose(product(x, turned(one), None, inputs), product(x, one, None, inputs), atol=1e-5)
        assert turned(one)[...].shape == (*one[...].shape[inputs:], *one[...].shape[:inputs])


def test_a_run_compiles_few_shapes_whatever_its_rows_say(policy, params):
    sampler = Sampler(policy.graphdef, policy.config, policy.encoder, BUCKETS)
    shapes = []
    for step in range(3):
        play(policy, params, sampler, room(2), [Request(prompt_of(policy, chart), (0, step, chart), RESPONSE, rows=3) for chart in range(3)], 2)
        shapes.append(sampler.compilations)
    assert shapes[0] == shapes[2] <= 6  # caches, prompts, decoding, feedback with a render, and two lengths of errors


def test_image_of_turn_one_changes_turn_two(policy, params, sampler):
    def say(seed):
        def reply(*_):
            return policy.encoder.feedback(Message("user", (image_of(seed), PROMPTS.revise)))

        return play(policy, params, sampler, room(2, rows=1), [Request(prompt_of(policy, 0), (0, 0, 0), RESPONSE)], 2, reply)[0, 0, 2]

    first, other = say(5), say(6)
    assert first.tokens[0] != other.tokens[0] or abs(first.logprobs[0] - other.logprobs[0]) > 1e-4


def test_special_ids_are_never_drawn_and_rows_end_at_the_end_token(policy, params, sampler):
    hot = Controls(temperature=3.0)
    requests = [Request(prompt_of(policy, chart), (0, 0, chart), 60, rows=8, controls=hot) for chart in range(2)]
    said = play(policy, params, sampler, room(rows=8, response=60, chunk=16), requests)
    forbidden = set(policy.encoder.forbidden_ids(policy.config.text.vocab).tolist())
    for one in said.values():
        assert not forbidden & set(one.tokens.tolist()) and policy.encoder.end_id not in one.tokens[:-1]
        assert one.ended == (one.tokens[-1] == policy.encoder.end_id) and (one.ended or len(one.tokens) == 60)


def logits_after(policy):
    """A function (params, tokens) that gives the logits [V] after all of the tokens."""

    @jax.jit
    def forward(params, batch, last):
        model = nnx.merge(policy.graphdef, params)
        features = model.encode_images(batch.vision)
        x = model.embed(batch.tokens, features.reshape(-1, features.shape[-1]), batch.image_slot)
        return model.logits(model.hidden(x, batch.positions, batch.segment, batch.prefix)[0, last])

    def logits(params, tokens):
        tree = Tree(strand([(tokens, False, None)]), (), (1.0,))
        batch = pack([tree], [[1.0]], Shape(1, 1, 128), policy.config.image_id)
        return np.asarray(forward(params, jax.tree.map(lambda x: x[0], batch), tree.size - 1))

    return logits


def test_greedy_and_the_repetition_penalty_take_the_likeliest_token_by_transformers(policy, params, sampler):
    torch, processors = pytest.importorskip("torch"), pytest.importorskip("transformers.generation.logits_process")
    prompt, logits = prompt_of(policy, 0), logits_after(policy)
    for penalty in (1.0, 1.6):
        request = Request(prompt, (0, 0, 0), 6, controls=Controls(temperature=0.0, penalty=penalty))
        said = play(policy, params, sampler, room(rows=1, response=6, chunk=4, penalised=True), [request])[0, 0, 1]
        ids = prompt
        for token in said.tokens:
            scores = torch.tensor(logits(params, ids))[None]
            scores = processors.RepetitionPenaltyLogitsProcessor(penalty)(torch.tensor(np.asarray(ids.ids))[None].long(), scores)[0].numpy().copy()
            scores[policy.encoder.forbidden_ids(policy.config.text.vocab)] = -np.inf
            assert token == scores.argmax()
            ids = ids + Tokens(np.array([token], np.int32))


@pytest.mark.parametrize("controls", [Controls(top_k=7), Controls(top_p=0.6), Controls(min_p=0.2), Controls(0.7, 0.8, 20, 0.05), Controls(1.3, 0.9, 3, 0.0)])
def test_filters_leave_the_tokens_that_transformers_leaves(controls):
    torch, processors = pytest.importorskip("torch"), pytest.importorskip("transformers.generation.logits_process")
    logits = np.random.default_rng(0).normal(0, 2, (4, 50)).astype(np.float32)
    scores = torch.tensor(logits) / controls.temperature
    for value, off, processor in (
        (controls.top_k, 0, processors.TopKLogitsWarper), (controls.top_p, 1.0, processors.TopPLogitsWarper),
        (controls.min_p, 0.0, processors.MinPLogitsWarper),
    ):  # fmt: skip
        scores = scores if value == off else processor(value)(None, scores)
    each = Controls(*[np.full(4, getattr(controls, field.name), np.int32 if field.name == "top_k" else np.float32) for field in dataclasses.fields(Controls)])
    scaled = jnp.asarray(logits) / each.temperature[..., None]
    kept = np.asarray(scaled >= threshold(scaled, each)[..., None])
    np.testing.assert_array_equal(kept, np.isfinite(scores.numpy()))
    draws = jax.jit(lambda said: draw(jnp.asarray(logits), jnp.zeros((4, 2), jnp.uint32), said, each, jnp.zeros(50, bool), jnp.zeros((4, 0), bool), True)[0])
    counts = np.zeros((4, 50))
    for n in range(300):
        counts[np.arange(4), np.asarray(draws(jnp.full(4, n, jnp.int32)))] += 1
    assert not counts[~kept].any()
    expected = torch.softmax(scores, -1).numpy()
    assert np.abs(counts / 300 - expected).max() < 0.12  # four standard deviations of a share of 300 draws


def test_a_stopped_row_is_heard_of_no_more_and_a_cancelled_tree_frees_its_place(policy, params, sampler):
    engine = Engine(sampler, params, room(rows=2, places=1, response=40, chunk=3))
    hot = Controls(temperature=2.0)
    first, second, third = (Request(prompt_of(policy, chart), (0, 0, chart), 40, rows=2, controls=hot) for chart in range(3))
    for request in (first, second, third):
        engine.submit(request)
    for _ in range(3):
        assert not [one for one in engine.step() if one.row == 1 and one.request is first and engine.stop(first, 1)]
    heard = engine.spoken(first, 0)[0]
    assert 3 <= len(heard) <= 9
    engine.stop(first, 0)
    engine.release(first, 0)
    engine.cancel(second)  # which waits
    said = []
    while engine.busy:
        for one in engine.step():
            said.append(one)
            engine.release(one.request, one.row)
    alone = play(policy, params, sampler, room(rows=2, places=1, response=40, chunk=3), [third])
    assert {(one.request, one.row) for one in said} == {(first, 1), (third, 0), (third, 1)}
    for one in said:
        if one.request is third:
            np.testing.assert_array_equal(one.tokens, alone[2, one.row, 1].tokens)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"rows": 4}, "4 rows are asked for, but a place has 3"),
        ({"tokens": 30}, "a response of 30 tokens does not fit; ask for 1 to 19"),
        ({"controls": Controls(top_p=0.0)}, "top_p is 0.0; give a number above 0"),
        ({"controls": Controls(penalty=1.2)}, "without repetition penalties"),
        ({"prompt": Tokens(np.zeros(400, np.int32))}, "a prompt of 400 tokens does not fit"),
    ],
)
def test_what_the_room_cannot_hold_is_refused_before_it_is_queued(policy, params, sampler, change, sentence):
    engine = Engine(sampler, params, room())
    with pytest.raises(ValueError, match=sentence):
        engine.submit(dataclasses.replace(Request(prompt_of(policy, 0), (0, 0, 0), RESPONSE), **change))
    assert not engine.busy


def test_feedback_that_finds_no_room_is_refused(policy, params, sampler):
    engine, request = Engine(sampler, params, room(2)), Request(prompt_of(policy, 0), (0, 0, 0), RESPONSE)
    engine.submit(request)
    while not (said := engine.step()):
        pass
    with pytest.raises(ValueError, match="feedback of 300 tokens does not fit"):
        engine.feed(request, said[0].row, Tokens(np.zeros(300, np.int32)))


def test_a_cache_that_finds_no_memory_is_refused_with_the_keys_to_turn(policy, params, sampler, monkeypatch):
    monkeypatch.setattr(budget, "free_memory", lambda device: 10_000)
    with pytest.raises(ValueError, match=r"2 places and 6 seats: .* GiB a device.* GiB are free; take fewer places .rollout.charts"):
        Engine(sampler, params, room())
    assert budget.share(room(), sampler) == room().bytes(policy.config)


def test_the_budget_of_a_room_is_what_its_cache_takes(policy, params, sampler):
    sizes = room(3, 1)
    prefix, rows = sampler.caches(sizes)
    assert sizes.bytes(policy.config) == sum(a.nbytes for a in (prefix.k, prefix.v, rows.k, rows.v))


def branching(policy, charts, rows):
    """Requests of two turns; those of odd charts share the first."""
    return [Request(prompt_of(policy, chart), (3, 7, chart), RESPONSE, rows=rows, shared=chart % 2) for chart in charts]


def both(**given):
    """Room for them, in int8."""
    return largest(room(2, shared, int8=True, **given) for shared in (0, 1))


def test_in_int8_a_row_says_the_same_wherever_it_is_played_and_nearly_what_it_would_without(policy, params, sampler, naive):
    """Keys and values are rounded once, so neither the length of a chunk nor a fold into the prefix rounds them again. Beside whole dialogues
    in one forward pass, which rounds nothing, log probabilities move by less than a hundredth of a nat, and by more than sums in another order do."""
    whole = play(policy, params, sampler, both(places=3, rows=2, lanes=3), branching(policy, range(3), 2), 2)
    part = play(policy, params, sampler, both(places=1, rows=2, lanes=1, chunk=12), branching(policy, (2, 1), 2), 2)
    for key, one in part.items():
        if len(key) == 3:
            np.testing.assert_array_equal(one.tokens, whole[key].tokens)
            np.testing.assert_allclose(one.logprobs, whole[key].logprobs, atol=1e-3)
    found = [dialogue(whole, request, row, 2) for request in branching(policy, range(3), 2) for row in range(2)]
    exact = naive(params, [parts for parts, _ in found])
    moved = np.concatenate([np.abs(got - expected) for (_, got), expected in zip(found, exact, strict=True)])
    assert 1e-5 < moved.mean() < 1e-2 and moved.max() < 0.1


def test_in_int8_the_cache_takes_a_byte_a_value_and_a_scale_a_head(policy, sampler):
    sizes = room(2, 1, int8=True)
    held = [array for part in sampler.caches(sizes) for array in (part.k, part.v)]
    assert sizes.bytes(policy.config) == sum(each.values.nbytes + each.scale.nbytes for each in held)
    width = policy.config.text.head_dim
    assert sizes.bytes(policy.config) * 4 * width == room(2, 1).bytes(policy.config) * (width + 4)
