"""Every backend of attention computes one softmax over what a token sees, with its gradients, and no scores of long rows are held."""

import dataclasses
import functools
import importlib.util
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recoder_jax.models.qwen2_5_vl import attention_splash as splash
from recoder_jax.models.qwen2_5_vl import attention_tiles as tiles
from recoder_jax.models.qwen2_5_vl import attention_xla as xla
from recoder_jax.models.qwen2_5_vl import attention
from recoder_jax.models.qwen2_5_vl import past as past_lib
from recoder_jax.models.qwen2_5_vl.attention import (
    appended_attention, chosen, image_attention, packed_attention, window_attention
)  # fmt: skip
from recoder_jax.models.qwen2_5_vl.config import preset
from recoder_jax.models.qwen2_5_vl.past import Past, Sharing, to_int8, to_turned

ROOT = pathlib.Path(__file__).parents[1]

# rows of trees as the packer lays them: (segment, prefix segment, tokens)
GROUPS = [(1, 0, 130), (2, 1, 57), (3, 1, 90), (4, 1, 3), (5, 0, 40), (6, 5, 64), (7, 5, 30), (8, 0, 60)]
ONE_TREE = [(1, 0, 300), (2, 1, 200)]


def row(runs, size):
    """segment and prefix int32 [size] of runs, padding behind them."""
    segment, prefix = np.zeros(size, np.int32), np.zeros(size, np.int32)
    at = 0
    for own, before, count in runs:
        segment[at : at + count], prefix[at : at + count] = own, before
        at += count
    return segment, prefix


def batch(rows, size):
    return tuple(np.stack(part) for part in zip(*[row(runs, size) for runs in rows], strict=True))


def sees(segment, prefix):
    """The rule, token by token: bool [S, S]."""
    size = len(segment)
    out = np.zeros((size, size), bool)
    for s in range(size):
        for t in range(s + 1):
            out[s, t] = segment[t] != 0 and segment[t] in (segment[s], prefix[s])
    return out


def arrays(rows, size, heads=2, queries=3, head=16, seed=0):
    rng = np.random.default_rng(seed)
    shapes = [(rows, size, heads, queries, head), (rows, size, heads, head), (rows, size, heads, head), (rows, size, heads, queries, head)]
    return [jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in shapes]


def reference(q, k, v, mask):
    """Softmax over what is seen, in float64; zero where nothing is."""
    q, k, v = (np.asarray(a, np.float64) for a in (q, k, v))
    scores = np.einsum('bskrh,btkh->bkrst', q, k) / np.sqrt(q.shape[-1])
    weights = np.where(mask[:, None, None], np.exp(scores - scores.max(-1, keepdims=True)), 0.0)
    total = weights.sum(-1, keepdims=True)
    return np.einsum('bkrst,btkh->bskrh', weights / np.where(total == 0, 1, total), v)


def value_and_gradients(backend, segment, prefix, q, k, v, cotangent):
    """Output where there is no padding, and gradients of its product with `cotangent`."""
    real = jnp.asarray(segment > 0)[..., None, None, None]

    def scalar(q, k, v):
        out = jnp.where(real, packed_attention(segment, prefix, backend, q.dtype.name)(q, k, v), 0.0)
        return jnp.sum(out * cotangent), out

    (_, out), gradients = jax.jit(jax.value_and_grad(scalar, argnums=(0, 1, 2), has_aux=True))(q, k, v)
    return out, gradients


@pytest.mark.parametrize('backend', ['xla', 'tiles of xla', 'splash_interpret'])
@pytest.mark.parametrize('size', [512, 540], ids=['whole blocks', 'filled up'])
def test_packed_trees_attend_by_the_rule_with_its_gradients(backend, size, monkeypatch):
    """Two rows of several trees and one without any."""
    monkeypatch.setattr(attention, 'WHOLE', 128 if backend == 'tiles of xla' else size)
    backend = backend.removeprefix('tiles of ')
    segment, prefix = batch([GROUPS, ONE_TREE, []], size)
    q, k, v, cotangent = arrays(3, size)
    out, gradients = value_and_gradients(backend, segment, prefix, q, k, v, cotangent)
    mask = np.stack([sees(*ids) for ids in zip(segment, prefix, strict=True)])
    np.testing.assert_allclose(out, np.where((segment > 0)[..., None, None, None], reference(q, k, v, mask), 0), atol=2e-5)

    def dense(q, k, v):
        scores = jnp.einsum('bskrh,btkh->bkrst', q, k) / jnp.sqrt(q.shape[-1])
        weights = jax.nn.softmax(jnp.where(mask[:, None, None], scores, -jnp.inf), where=mask[:, None, None])
        out = jnp.einsum('bkrst,btkh->bskrh', weights, v)
        return jnp.sum(jnp.where((segment > 0)[..., None, None, None], out, 0.0) * cotangent)

    expected = jax.grad(dense, argnums=(0, 1, 2))(q, k, v)
    for ours, theirs in zip(gradients, expected, strict=True):
        assert np.isfinite(ours).all()
        np.testing.assert_allclose(ours, theirs, atol=5e-5)


def test_tiles_of_bfloat16_are_as_exact_as_whole_rows(monkeypatch):
    segment, prefix = batch([GROUPS], 500)
    exact = arrays(1, 500)
    rounded = [a.astype(jnp.bfloat16) for a in exact]
    theirs = value_and_gradients('xla', segment, prefix, *exact)
    whole = value_and_gradients('xla', segment, prefix, *rounded)
    monkeypatch.setattr(attention, 'WHOLE', 128)
    tiled = value_and_gradients('xla', segment, prefix, *rounded)
    for one, other, right in zip(jax.tree.leaves(tiled), jax.tree.leaves(whole), jax.tree.leaves(theirs), strict=True):
        assert one.dtype == jnp.bfloat16
        errors = [float(jnp.abs(a.astype(jnp.float32) - right).mean()) for a in (one, other)]
        assert errors[0] < 1.1 * errors[1]


def test_siblings_cost_no_tiles():
    """A prefix of 512 tokens and 4 branches of 256: the tiles that run are those of the tree, not of the square."""
    segment, prefix = batch([[(1, 0, 512), *[(2 + i, 1, 256) for i in range(4)]]], 1536)
    visible = np.asarray(tiles.tree_mask(jnp.asarray(segment), jnp.asarray(prefix)).visible)[0]
    triangle = lambda blocks: blocks * (blocks + 1) // 2
    assert visible.sum() == triangle(4) + 4 * (2 * 4 + triangle(2))


@given(st.lists(st.tuples(st.integers(1, 300), st.lists(st.integers(1, 300), max_size=4)), max_size=5))
@settings(max_examples=40, deadline=None)
def test_no_block_that_a_query_sees_is_skipped(trees):
    """Any packing of prefixes and suffixes into 1,024 tokens: the skipped blocks hold no pair that sees each other."""
    runs, segment = [], 0
    for prefix_tokens, suffixes in trees:
        segment += 1
        own = segment
        runs.append((own, 0, prefix_tokens))
        for count in suffixes:
            segment += 1
            runs.append((segment, own, count))
    runs = [run for i, run in enumerate(runs) if sum(count for *_, count in runs[: i + 1]) <= 1024]
    ids, prefix = batch([runs], 1024)
    mask = splash.tree_mask(jnp.asarray(ids), jnp.asarray(prefix))
    visible = np.asarray(mask.visible)[0]
    block = 1024 // visible.shape[0]
    own, before = ids[0][None, :], prefix[0][:, None]
    causal = np.tri(1024, dtype=bool)
    as_prefix = causal & (own == np.where(before > 0, before, ids[0][:, None])) & (prefix[0][None] == 0)
    as_suffix = causal & (own == ids[0][:, None]) & (prefix[0][None] > 0)
    seen = np.concatenate([as_prefix, as_suffix], axis=1)  # [S, 2 S], the drawing of the module
    needed = seen.reshape(visible.shape[0], block, -1, block).any(axis=(1, 3))
    assert (visible[needed] == 1).all()


def test_siblings_cost_nothing_in_the_kernel():
    """A prefix of 2,048 tokens and 8 suffixes of 1,024: the blocks that run are those of the tree, not of the square."""
    segment, prefix = batch([[(1, 0, 2048), *[(2 + i, 1, 1024) for i in range(8)]]], 10240)
    visible = np.asarray(splash.tree_mask(jnp.asarray(segment), jnp.asarray(prefix)).visible)[0]
    triangle = lambda blocks: blocks * (blocks + 1) // 2
    assert visible.sum() == triangle(4) + 8 * (2 * 4 + triangle(2))
    assert visible.sum() < 0.5 * triangle(20)


@pytest.mark.parametrize('backend', ['xla', 'splash_interpret'])
def test_slots_of_an_image_attend_to_its_valid_slots(backend, monkeypatch):
    """Three images with holes, one of them all padding; heads of 20 as in the 7B tower's 80, no multiple of 128."""
    monkeypatch.setattr(xla, 'LONG', 128)
    monkeypatch.setattr(xla, 'BLOCK', 128)
    rng = np.random.default_rng(0)
    valid = rng.random((3, 384)) < 0.6
    valid[2] = False
    q, k, v = (jnp.asarray(rng.normal(size=(3, 384, 2, 20)), jnp.float32) for _ in range(3))
    def scalar(run):
        return lambda q, k, v: jnp.sum(jnp.sin(jnp.where(valid[..., None, None], run(q, k, v), 0.0)))

    def dense(q, k, v):
        scores = jnp.einsum('isnh,itnh->inst', q, k) / jnp.sqrt(20)
        seen = valid[:, None, None]
        return jnp.einsum('inst,itnh->isnh', jax.nn.softmax(jnp.where(seen, scores, -jnp.inf), where=seen), v)

    ours = jax.jit(jax.value_and_grad(scalar(image_attention(jnp.asarray(valid), backend, 'float32')), argnums=(0, 1, 2)))(q, k, v)
    theirs = jax.value_and_grad(scalar(dense), argnums=(0, 1, 2))(q, k, v)
    for one, other in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert np.isfinite(one).all()
        np.testing.assert_allclose(one, other, atol=5e-5)


def test_slots_of_a_window_attend_to_those_of_its_number():
    """Windows of any sizes that share a place, empty slots among them."""
    rng = np.random.default_rng(0)
    window = rng.integers(0, 4, (2, 3, 16))
    q, k, v = rng.normal(size=(3, 2, 3, 16, 2, 8)).astype(np.float32)
    ours = window_attention(jnp.asarray(window, jnp.int32))(q, k, v)
    for i, w, t in np.argwhere(window):
        own = window[i, w] == window[i, w, t]
        weights = np.exp(np.einsum('nh,tnh->tn', q[i, w, t], k[i, w, own]) / np.sqrt(8))
        np.testing.assert_allclose(ours[i, w, t], np.einsum('tn,tnh->nh', weights / weights.sum(0), v[i, w, own]), atol=1e-5)


def several_rows(seed, new, prefixes, rows, dtype=jnp.float32):
    """New tokens of `rows` rows behind prefixes and suffixes of their own, some slots empty: q, k, v, past."""
    rng = np.random.default_rng(seed)
    normal = lambda *shape: jnp.asarray(rng.normal(size=shape), dtype)
    taken = lambda *shape: jnp.asarray(rng.random(shape) < 0.7)
    q, k, v = normal(rows, new, 2, 3, 8), normal(rows, 2, new, 8), normal(rows, 2, new, 8)
    return q, k, v, Past(normal(prefixes, 2, 6, 8), normal(prefixes, 2, 6, 8), taken(prefixes, 6), normal(rows, 2, 5, 8), normal(rows, 2, 5, 8), taken(rows, 5))


def test_rows_that_share_a_prefix_see_what_they_would_see_of_copies():
    """Five rows behind two of three prefixes in any order; of the third prefix, and of numbers that nobody has, nothing is read. A row
    whose prefix has no valid slot, and the other way round, among them; with what was said since the suffix was written, and without."""
    q, k, v, past = several_rows(0, 1, 3, 5)
    past = dataclasses.replace(past, prefix_valid=past.prefix_valid.at[2].set(False), suffix_valid=past.suffix_valid.at[1].set(False))
    owner, number = np.array([0, 2, 0, 0, 2]), np.array([3, 0, 1, 0, 2])
    rows = np.zeros((3, 4), np.int32)
    rows[owner, number] = np.arange(5)
    shared = dataclasses.replace(past, sharing=Sharing(jnp.asarray(owner * 4 + number), jnp.asarray(rows)))
    copied = dataclasses.replace(past, **{name: getattr(past, name)[owner] for name in ('prefix_k', 'prefix_v', 'prefix_valid')})
    valid = jnp.ones((5, 1), bool)
    for recent in ({}, dict(zip(('recent_k', 'recent_v', 'recent_valid'), (past.suffix_v, past.suffix_k, past.suffix_valid), strict=True))):
        found, expected = (appended_attention(q, k, v, dataclasses.replace(one, **recent), valid) for one in (shared, copied))
        np.testing.assert_allclose(found, expected, atol=1e-6)
    moved = dataclasses.replace(shared, prefix_v=shared.prefix_v.at[1].add(9.0))
    np.testing.assert_array_equal(appended_attention(q, k, v, moved, valid), appended_attention(q, k, v, shared, valid))


def test_appended_tokens_in_blocks_see_what_they_see_at_once(monkeypatch):
    """Ten new tokens in blocks of four, behind prefixes and suffixes of their own, some slots empty."""
    q, k, v, past = several_rows(0, 10, 6, 6)
    valid = jnp.arange(10) < jnp.asarray(np.random.default_rng(0).integers(1, 11, 6))[:, None]
    at_once = appended_attention(q, k, v, past, valid)
    monkeypatch.setattr(attention, 'APPENDED', 4)
    in_blocks = appended_attention(q, k, v, past, valid)
    np.testing.assert_allclose(at_once, in_blocks, atol=1e-6)


@pytest.mark.parametrize('tile', [2, 3, 64])
def test_turned_keys_are_attended_to_as_the_keys(tile, monkeypatch):
    """Tiles that the slots fill, and tiles filled up; rows that share prefixes."""
    monkeypatch.setattr(past_lib, 'TILE', tile)
    q, k, v, past = several_rows(2, 1, 2, 4)
    past = dataclasses.replace(past, sharing=Sharing(jnp.arange(4), jnp.arange(4).reshape(2, 2)))
    turned = dataclasses.replace(past, prefix_k=to_turned(past.prefix_k), suffix_k=to_turned(past.suffix_k))
    assert turned.prefix_k.shape == past.prefix_k.shape and turned.prefix_k.tiles.shape == (2, 2, -(-6 // tile), 8, min(tile, 6))
    found, expected = (appended_attention(q, k, v, one, jnp.ones((4, 1), bool)) for one in (turned, past))
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize('form', [lambda a: a, to_int8])
def test_a_prefix_in_front_of_the_suffix_is_seen_as_behind_it(form):
    """Five rows behind prefixes of their own in another order, one of which holds nothing; a prefix that rows share stays where it is."""
    q, k, v, past = several_rows(4, 1, 5, 5)
    home, rows = np.array([2, 0, 4, 1, 3]), np.array([[1], [3], [0], [4], [2]])
    past = dataclasses.replace(past, **{name: form(a) for name, a in past.caches().items()}, sharing=Sharing(jnp.asarray(home), jnp.asarray(rows)))
    past = dataclasses.replace(past, prefix_valid=past.prefix_valid.at[1].set(False), recent_k=past.suffix_v, recent_v=past.suffix_k, recent_valid=past.suffix_valid)
    one = past_lib.as_suffix(past)
    assert one.sharing is None and one.prefix_k.shape == (5, 2, 0, 8) and one.suffix_k.shape == one.suffix_v.shape == (5, 2, 11, 8)
    found, expected = (appended_attention(q, k, v, each, jnp.ones((5, 1), bool)) for each in (one, past))
    np.testing.assert_allclose(found, expected, atol=1e-6)
    shared = dataclasses.replace(past, sharing=Sharing(jnp.arange(5), jnp.zeros((5, 2), jnp.int32)))
    assert past_lib.as_suffix(shared) is shared


@pytest.mark.parametrize('form', [lambda a: a, to_int8])
@pytest.mark.parametrize('tile', [2, 3, 64])
def test_a_token_is_written_where_it_belongs_in_every_form(form, tile, monkeypatch):
    """Five tokens, one after the other, in a stack of three layers and in layers of their own with keys turned."""
    monkeypatch.setattr(past_lib, 'TILE', tile)
    rng = np.random.default_rng(5)
    tokens = [form(jnp.asarray(rng.normal(size=(3, 2, 4, 1, 8)), jnp.float32)) for _ in range(5)]
    whole = jax.tree.map(lambda *parts: jnp.concatenate(parts, axis=3), *tokens)
    empty = jax.tree.map(jnp.zeros_like, whole)
    past = dataclasses.replace(several_rows(0, 1, 1, 1)[3], prefix_k=empty, prefix_v=empty, suffix_k=empty, suffix_v=empty, recent_k=empty, recent_v=empty)
    layers = past_lib.from_layers([past_lib.keys_turned(one) for one in past_lib.layers_of(past, 3)])
    assert all(isinstance(one, past_lib.Turned) for one in layers.recent_k) == (form is not to_int8)
    for recent in (empty, layers.recent_k, layers.recent_v):
        for n, token in enumerate(tokens):
            recent = past_lib.with_token(recent, token, jnp.int32(n))
        jax.tree.map(np.testing.assert_array_equal, past_lib.stacked(recent), whole)


def test_the_one_token_asked_for_sees_what_it_sees_among_all():
    """The first, one between and the last of ten new tokens, behind prefixes and suffixes of their own."""
    q, k, v, past = several_rows(3, 10, 3, 3)
    only, valid = jnp.asarray([0, 4, 9]), jnp.arange(10) < jnp.asarray([[3], [5], [10]])
    everyone = appended_attention(q, k, v, past, valid)
    rows = jnp.arange(3)
    found = appended_attention(q[rows, only][:, None], k, v, past, valid, only)
    np.testing.assert_allclose(found[:, 0], everyone[rows, only], atol=1e-6)


@pytest.mark.parametrize('dtype', [jnp.float32, jnp.bfloat16])
def test_keys_and_values_in_a_byte_are_within_half_a_step_and_attended_to_as_what_they_stand_for(dtype):
    """A token and head whose keys are all zero, and one that is a thousand times as long as the others, among them."""
    rng = np.random.default_rng(1)
    normal = lambda *shape: jnp.asarray(rng.normal(size=shape), dtype)
    taken = lambda *shape: jnp.asarray(rng.random(shape) < 0.7)
    held = [normal(2, 2, 6, 8).at[0, 0, 0].set(0).at[0, 0, 1].multiply(1000), normal(2, 2, 6, 8), *(normal(6, 2, 5, 8) for _ in range(4))]
    stored = [to_int8(a) for a in held]
    stands_for = [one.values.astype(jnp.float32) * one.scale[..., None] for one in stored]
    for a, one, other in zip(held, stored, stands_for, strict=True):
        assert one.values.dtype == jnp.int8 and one.shape == a.shape and one.scale.shape == a.shape[:-1]
        assert bool((jnp.abs(other - a.astype(jnp.float32)) <= 0.501 * one.scale[..., None]).all())
    assert not stands_for[0][0, 0, 0].any()
    q, k, v = normal(6, 1, 2, 3, 8), normal(6, 2, 1, 8), normal(6, 2, 1, 8)
    masks, sharing = (taken(2, 6), taken(6, 5), taken(6, 5)), Sharing(jnp.arange(6), jnp.arange(6).reshape(2, 3))
    past = lambda parts: Past(parts[0], parts[1], masks[0], parts[2], parts[3], masks[1], parts[4], parts[5], masks[2], sharing)
    ours, expected = (appended_attention(q, k, v, past(parts), jnp.ones((6, 1), bool)) for parts in (stored, stands_for))
    np.testing.assert_allclose(ours.astype(jnp.float32), expected.astype(jnp.float32), atol=1e-5 if dtype == jnp.float32 else 0.03)


def test_the_backend_follows_the_platform_and_the_dtype_and_can_be_named(monkeypatch):
    """cuDNN refuses float32, which all tiny policies are of."""
    assert chosen('auto', 'float32') == 'xla' and chosen('splash', 'float32') == 'splash'
    for platform, expected in (('gpu', ('xla', 'cudnn')), ('tpu', ('splash', 'splash'))):
        monkeypatch.setattr(jax, 'default_backend', lambda platform=platform: platform)
        assert tuple(chosen('auto', dtype) for dtype in ('float32', 'bfloat16')) == expected
    with pytest.raises(ValueError, match="attention 'cudnn' computes in bfloat16 alone"):
        preset('tiny').replace(attention='cudnn', dtype='float32')


@pytest.mark.skipif(importlib.util.find_spec('libtpu') is None, reason="libtpu is not installed: pip install -e '.[tpu]'")
def test_the_kernel_and_its_gradients_compile_for_tpus():
    """Heads of 128 in rows of trees and of 80 in images, on every kind of axis; the scores of a row would be 8 times what is held."""
    arguments = [sys.executable, '-m', 'tests.aot_attention', 'v5e:2x2,2,1', 'v5p:2x2x2,2,2']
    run = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert run.returncode == 0, run.stderr[-3000:]
    scores_of_a_device = 4 * 28 * 2048 * 2048 * 4 / 8  # float32, rows and heads over 4 or 8 devices
    held = {(topology, what): int(size) for topology, what, size in map(str.split, run.stdout.splitlines())}
    assert held.keys() == {(topology, what) for topology in ('v5e:2x2', 'v5p:2x2x2') for what in ('packed', 'slots')}
    assert max(held[topology, 'packed'] for topology in ('v5e:2x2', 'v5p:2x2x2')) < scores_of_a_device / 8


def test_what_cudnn_is_asked_is_the_rule(monkeypatch):
    """The call that a GPU gets, here computed by jax's XLA version of the same function."""
    monkeypatch.setattr(attention, 'library_attention', functools.partial(attention.library_attention, implementation='xla'))
    segment, prefix = batch([GROUPS, ONE_TREE], 512)
    q, k, v, cotangent = arrays(2, 512)
    ours = value_and_gradients('cudnn', segment, prefix, q, k, v, cotangent)
    theirs = value_and_gradients('xla', segment, prefix, q, k, v, cotangent)
    for one, other in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(one, other, atol=5e-5)
    valid = jnp.asarray(np.random.default_rng(0).random((2, 256)) < 0.6)
    image = [jnp.asarray(a) for a in np.random.default_rng(1).normal(size=(3, 2, 256, 2, 20)).astype(np.float32)]
    np.testing.assert_allclose(image_attention(valid, 'cudnn', 'float32')(*image), image_attention(valid, 'xla', 'float32')(*image), atol=2e-5)


@pytest.mark.skipif(jax.default_backend() != 'gpu', reason='cudnn needs an NVIDIA GPU, and this machine has none')
def test_cudnn_attends_by_the_rule_within_bfloat16():
    segment, prefix = batch([GROUPS, ONE_TREE], 512)
    q, k, v, cotangent = (a.astype(jnp.bfloat16) for a in arrays(2, 512, head=128))
    ours = value_and_gradients('cudnn', segment, prefix, q, k, v, cotangent)
    theirs = value_and_gradients('xla', segment, prefix, q, k, v, cotangent)
    for one, other in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(one.astype(np.float32), other.astype(np.float32), atol=0.05)
