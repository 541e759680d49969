"""Weights of rare tokens: nothing changes where they are off, sums stay, and what is rarer weighs more."""

import dataclasses

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recoder_jax.configuration import load
from recoder_jax.dialogue.encoder import Encoder, load_tokenizer
from recoder_jax.dialogue.images import ImageProcessor
from recoder_jax.dialogue.turns import Prompts, opening
from recoder_jax.learning.batch import Shape, Strand, Tree, pack, token_weights
from recoder_jax.learning.rarity import count, emphasised, keys_of
from recoder_jax.rollout.lessons import COUNTED, SupervisedLessons, rarity_of
from recoder_jax.rollout.trajectory import supervised_tree
from tests.conftest import image_of

AGGREGATIONS = ("sequence_mean", "token_mean", "constant")
VOCAB = 20
responses = st.lists(st.lists(st.integers(0, VOCAB - 1), min_size=1, max_size=12).map(lambda ids: np.array(ids, np.int32)), min_size=1, max_size=8)


@pytest.fixture(scope="module")
def encoder():
    return Encoder(load_tokenizer("tiny"), ImageProcessor(min_pixels=28 * 28, max_pixels=56 * 84))


def tree_of(*parts):
    """A dialogue of (ids, trained), without images."""
    ids = np.concatenate([part for part, _ in parts])
    trained = np.concatenate([np.full(len(part), flag) for part, flag in parts])
    return Tree(Strand(ids, (), trained, np.zeros(len(ids), np.float32)), (), (1.0,))


@settings(deadline=None)
@given(responses)
def test_share_is_that_of_the_responses_that_hold_a_token_behind_its_predecessors(said):
    rarity = count(said, VOCAB)
    held = [{tuple(triple) for triple in zip([-1, -1, *ids[:-2]], [-1, *ids[:-1]], ids)} for ids in (one.tolist() for one in said)]
    for ids in said:
        triples = zip([-1, -1, *ids[:-2].tolist()], [-1, *ids[:-1].tolist()], ids.tolist())
        expected = [(sum(triple in one for one in held) + 1) / (len(said) + 1) for triple in list(triples)[: len(ids)]]
        np.testing.assert_allclose(rarity.share(ids), expected)
    assert (rarity.share(np.array([VOCAB - 1, 0, VOCAB - 1, 1], np.int32)) >= 1 / (len(said) + 1)).all()


@settings(deadline=None)
@given(responses, st.floats(0.1, 3), st.floats(1, 20))
def test_what_is_rarer_weighs_more_up_to_the_bound(said, power, most):
    rarity = count(said, VOCAB)
    ids = np.concatenate(said)
    share, emphasis = rarity.share(ids), rarity.emphasis(ids, power, most)
    order = np.argsort(share)
    assert (np.diff(emphasis[order]) <= 0).all() and emphasis.min() >= 1 and emphasis.max() <= np.float32(most)
    assert np.array_equal(rarity.emphasis(ids, 0.0, most), np.ones(len(ids)))


def test_keys_tell_every_three_tokens_of_a_large_vocabulary_apart():
    top = 151_935
    ids = np.random.default_rng(0).choice(np.array([0, 1, top - 1, top], np.int32), 500)
    triples = set(zip([-1, -1, *ids[:-2].tolist()], [-1, *ids[:-1].tolist()], ids.tolist()))
    keys = keys_of(ids, top + 1)
    assert len(set(keys.tolist())) == len(triples) and (keys > 0).all()


@settings(deadline=None)
@given(st.lists(responses, min_size=1, max_size=4), st.sampled_from(AGGREGATIONS), st.floats(0.1, 3), st.floats(1, 20))
def test_the_sum_of_the_weights_of_a_batch_stays(dialogues, aggregation, power, most):
    told = np.arange(3, dtype=np.int32)
    trees = [tree_of((told, False), *[pair for ids in said for pair in ((ids, True), (told, False))]) for said in dialogues]
    rarity = count([ids for said in dialogues for ids in said], VOCAB)
    rare = [emphasised(tree, rarity, power, most) for tree in trees]

    def sums(trees):
        weights = token_weights(trees, aggregation, 7.0)
        return [float(np.sum(np.broadcast_to(row[0], int(tree.prefix.trained.sum())))) for tree, row in zip(trees, weights)]

    assert sum(sums(rare)) == pytest.approx(sum(sums(trees)))
    if aggregation == "sequence_mean":
        assert sums(rare) == pytest.approx(sums(trees))


def test_a_response_is_looked_at_by_itself_and_what_is_told_has_no_part(encoder):
    said, told = np.array([3, 4, 5], np.int32), np.array([9, 9], np.int32)
    rarity = count([said], VOCAB)
    tree = emphasised(tree_of((told, False), (said, True), (told, False), (np.array([3, 4, 6], np.int32), True)), rarity, 1.0, 10.0)
    np.testing.assert_array_equal(tree.prefix.emphasis, [1, 1, 1, 1, 1, 1, 1, 1, 1, 2])


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_without_rarity_or_with_equal_emphasis_the_batch_is_that_of_before(encoder, aggregation):
    """To the bit without; the weights of before are written out here."""
    parts = [[("plt.plot([1])", True)], [("plt.bar([3, 4])", False), ("x", True)]]
    trees = [supervised_tree(encoder.prompt(opening(image_of(n), Prompts())), [(encoder.response(t), f) for t, f in part]) for n, part in enumerate(parts)]
    counts = [int(tree.prefix.trained.sum()) for tree in trees]
    before = {"sequence_mean": [1 / (2 * n) for n in counts], "token_mean": [1 / sum(counts)] * 2, "constant": [1 / (2 * 7.0)] * 2}[aggregation]
    weights = token_weights(trees, aggregation, 7.0)
    assert weights == [[weight] for weight in before]
    shape = Shape(1, 2, max(tree.size for tree in trees))
    batch = pack(trees, weights, shape, encoder.image_id)
    even = [dataclasses.replace(t, prefix=dataclasses.replace(t.prefix, emphasis=np.full(t.size, 3, np.float32))) for t in trees]
    for one, other in zip(jax.tree.leaves(batch), jax.tree.leaves(pack(even, token_weights(even, aggregation, 7.0), shape, encoder.image_id))):
        np.testing.assert_allclose(one, other, rtol=1e-6)


def test_lessons_weigh_values_and_words_over_what_every_program_has(encoder, world):
    config = load("configs/beyond/rare_tokens.py", [f"--config.data.dir={world}", "--config.batch.size=8"])
    tree = SupervisedLessons(config, encoder)(None, 0, 0).trees[0]
    ids, emphasis = tree.prefix.ids[tree.prefix.trained], tree.prefix.emphasis[tree.prefix.trained]
    words = [encoder.decode([token]) for token in ids]
    assert emphasis[0] == 1 and emphasis.max() > 3 and (tree.prefix.emphasis[~tree.prefix.trained] == 1).all()
    begin = "".join(words).index("import matplotlib")
    at = np.cumsum([0, *map(len, words)])[:-1]
    frame = emphasis[(at >= begin) & (at < begin + len("import matplotlib"))]
    assert (frame[1:] == 1).all() and frame.mean() < emphasis.mean()
    config.objective.rare = 0.0
    plain = SupervisedLessons(config, encoder)(None, 0, 0).trees[0]
    assert plain.prefix.emphasis is None and np.array_equal(plain.prefix.ids, tree.prefix.ids)


def test_counting_looks_at_so_many_dialogues_at_most_and_at_trained_responses_only(encoder):
    looked = []

    class Source:
        def __len__(self):
            return 3 * COUNTED + 1

        def __getitem__(self, index):
            looked.append(index)
            return dataclasses.make_dataclass("E", ["responses", "trained"])(("flawed", "ok"), (False, True))

    rarity = rarity_of(Source(), encoder)
    assert rarity.responses == len(looked) <= COUNTED and looked[-1] > 2.9 * COUNTED
    assert len(rarity.keys) == len(encoder.response("ok").ids)
    with pytest.raises(ValueError, match="no response to count"):
        count([], VOCAB)
