"""Rows change seats, leave them when they are gone and find them when they come; what they say stays the same."""

import copy
import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recoder_jax.sampling.drawing import Controls
from recoder_jax.sampling.engine import Engine
from recoder_jax.sampling.functions import Sampler
from recoder_jax.sampling.places import Request, Row, Standing
from tests.test_sampling import BUCKETS, RESPONSE, params, play, prompt_of, room, sampler  # params and sampler are fixtures


@pytest.mark.parametrize("turns, shared", [(2, 0), (3, 1)])
def test_rows_that_change_seats_say_what_they_say_on_one(policy, params, sampler, turns, shared):
    """Chunks decode as few seats and places as they can, so that rows of trees that ended early and late change seats all the time."""
    changing = Sampler(policy.graphdef, policy.config, policy.encoder, dataclasses.replace(BUCKETS, seats=2), narrow=True)
    sizes = room(turns, shared, places=4, lanes=2, chunk=3)
    requests = [Request(prompt_of(policy, chart, 56, 28 * (1 + chart % 3)), (3, 7, chart), RESPONSE, rows=1 + chart % 3, shared=shared) for chart in range(7)]
    moved, expected = (play(policy, params, one, sizes, requests, turns) for one in (changing, sampler))
    assert moved.keys() == expected.keys() and len({one.row for one in moved.values() if hasattr(one, "row")}) == 3
    for key, one in expected.items():
        if len(key) == 3:
            np.testing.assert_array_equal(moved[key].tokens, one.tokens)
            np.testing.assert_allclose(moved[key].logprobs, one.logprobs, atol=2e-5)
    assert changing.functions.exchange._cache_size() and changing.functions.decode._cache_size() > 2


def test_a_seat_is_free_when_its_row_is_gone_and_few_rows_are_decoded_alone(policy):
    """Of two trees of eight rows all but one row each are stopped: the next chunks have two seats of sixteen, one place of two."""
    sampler = Sampler(policy.graphdef, policy.config, policy.encoder, dataclasses.replace(BUCKETS, seats=2), narrow=True)
    shapes, decode = [], sampler.functions.decode

    def watched(*given, **sizes):
        shapes.append((len(given[3].speaks), len(given[3].rows)))
        return decode(*given, **sizes)

    sampler.functions = dataclasses.replace(sampler.functions, decode=watched)
    engine = Engine(sampler, policy.params, room(rows=8, response=40, chunk=2))
    hot = Controls(temperature=2.0)
    first, second = (Request(prompt_of(policy, chart), (0, 0, chart), 40, rows=8, controls=hot) for chart in range(2))
    engine.submit(first)
    engine.submit(second)
    engine.step()
    for request, keep in ((first, 5), (second, 1)):
        for _, row in [one for one in engine.speaking() if one[0] is request and one[1] != keep]:
            engine.stop(request, row)
            engine.release(request, row)
    engine.step()
    engine.cancel(first)
    engine.step()
    assert shapes == [(16, 2), (2, 2), (2, 1)]
    third = Request(prompt_of(policy, 2), (0, 0, 2), 40, rows=8, controls=hot)
    engine.submit(third)
    engine.step()
    assert shapes[-1] == (16, 2) and len(engine.speaking()) == 9


def test_a_shared_turn_reads_a_prefix_for_the_one_row_that_says_it(policy, params, sampler):
    """Two trees of three rows: a chunk of their first turn counts one row behind each prefix, one of their second turn three."""
    shapes, watched, decode = [], copy.copy(sampler), sampler.functions.decode

    def watch(*given, **sizes):
        shapes.append((len(given[3].speaks), given[3].rows.shape))
        return decode(*given, **sizes)

    watched.functions = dataclasses.replace(sampler.functions, decode=watch)
    requests = [Request(prompt_of(policy, chart), (0, 0, chart), RESPONSE, rows=3, shared=1) for chart in range(2)]
    play(policy, params, watched, room(2, shared=1), requests, 2)
    assert set(shapes) == {(2, (2, 1)), (6, (2, 3))}


@pytest.mark.parametrize("shared", [0, 1])
def test_a_tree_enters_when_seats_for_its_rows_are_free_though_others_of_its_place_still_speak(policy, params, sampler, shared):
    """Six trees on four places but seats for two groups and two rows: what they say is what they say with seats for all."""
    sizes = room(2, shared, places=4, lanes=1, chunk=1)
    requests = [Request(prompt_of(policy, chart, 56, 28 * (1 + chart % 3)), (3, 7, chart), RESPONSE, rows=3, shared=shared) for chart in range(6)]
    few = dataclasses.replace(sizes, seats=8)
    assert few.bytes(policy.config) < sizes.bytes(policy.config)
    trees = []
    found = play(policy, params, sampler, few, requests, 2, watch=lambda engine: trees.append(len(engine._at)))
    expected = play(policy, params, sampler, sizes, requests, 2)
    assert max(trees) == 3
    assert found.keys() == expected.keys()
    for key, one in expected.items():
        if len(key) == 3:
            np.testing.assert_array_equal(found[key].tokens, one.tokens)
            np.testing.assert_allclose(found[key].logprobs, one.logprobs, atol=2e-5)


@given(st.data())
def test_what_is_brought_forward_stands_in_front_of_its_shard_and_nothing_is_lost(data):
    shards, each = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 9))
    standing = Standing(shards * each, shards)
    rows = [Row(n, 1, 0, 0) for n in range(shards * each) if data.draw(st.booleans())]
    for row in rows:
        standing.put(row)
    before = {row.index: row for row in rows}
    wanted = {row.index for row in rows if data.draw(st.booleans())}
    first = data.draw(st.integers(max([1, *[sum(n // each == shard for n in wanted) for shard in range(shards)]]), each))
    chosen = [before[n] for n in wanted]
    moved = list(range(shards * each))
    for one, other in standing.bring_forward(wanted, first):
        assert one // each == other // each
        moved[one], moved[other] = moved[other], moved[one]
    assert all(row.index % each < first for row in chosen)
    assert {row.index: row for row in rows} == {n: before[old] for n, old in enumerate(moved) if old in before} == {row.index: row for row in standing}
    assert all(row.index // each == old // each for old, row in before.items())
