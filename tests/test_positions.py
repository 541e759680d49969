"""Rotary positions and the window layout are those of transformers, on dialogues drawn at random."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recoder_jax.models.qwen2_5_vl.positions import mrope_positions
from recoder_jax.models.qwen2_5_vl.windows import layout, merged_tokens, vision_inputs, windows_needed

IMAGE = 5

grids = st.tuples(st.integers(1, 13), st.integers(1, 13)).map(lambda g: (2 * g[0], 2 * g[1]))
# A dialogue: an opening text, then (image, text after it); texts between images may be empty.
pieces = st.lists(st.tuples(grids, st.integers(0, 6)), min_size=0, max_size=4)


def dialogue(first: int, body) -> tuple[np.ndarray, list[tuple[int, int]]]:
    ids = [7] * first
    for grid, after in body:
        ids += [IMAGE] * merged_tokens(grid) + [8] * after
    return np.array(ids, np.int32), [grid for grid, _ in body]


def reference_positions(ids: np.ndarray, image_grids) -> np.ndarray:
    """`get_rope_index` of transformers, [3, S]; each image is separated there by its own run of token types."""
    torch = pytest.importorskip('torch')
    modeling = pytest.importorskip('transformers.models.qwen2_5_vl.modeling_qwen2_5_vl')
    reads = SimpleNamespace(
        config=SimpleNamespace(vision_config=SimpleNamespace(spatial_merge_size=2, tokens_per_second=2)),
    )
    reads.get_vision_position_ids = lambda *a, **k: modeling.Qwen2_5_VLModel.get_vision_position_ids(reads, *a, **k)
    tokens = torch.tensor(ids[None].astype(np.int64))
    thw = torch.tensor([[1, *grid] for grid in image_grids]) if image_grids else None
    out, _ = modeling.Qwen2_5_VLModel.get_rope_index(
        reads, tokens, mm_token_type_ids=(tokens == IMAGE).int(), image_grid_thw=thw
    )
    return out[:, 0].numpy()


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 8), pieces)
def test_positions_equal_transformers(first, body):
    body = [(grid, max(after, 1)) for grid, after in body]  # transformers merges neighbouring images into one run
    ids, image_grids = dialogue(first, body)
    ours, _ = mrope_positions(ids, image_grids, IMAGE)
    np.testing.assert_array_equal(ours, reference_positions(ids, image_grids))


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 8), pieces, st.integers(0, 8), pieces)
def test_an_appended_piece_gets_the_positions_of_the_whole(first, body, second, more):
    ids, image_grids = dialogue(first, body)
    new, new_grids = dialogue(second, more)
    whole, end = mrope_positions(np.concatenate([ids, new]), image_grids + new_grids, IMAGE)
    before, start = mrope_positions(ids, image_grids, IMAGE)
    after, last = mrope_positions(new, new_grids, IMAGE, start)
    np.testing.assert_array_equal(whole, np.concatenate([before, after], axis=1))
    assert end == last and whole.dtype == np.int32


def test_the_worked_example_of_the_facts():
    ids = np.array([7] * 3 + [IMAGE] * 6 + [7] * 3)
    positions, end = mrope_positions(ids, [(4, 6)], IMAGE)
    assert positions.tolist() == [
        [0, 1, 2, 3, 3, 3, 3, 3, 3, 6, 7, 8],
        [0, 1, 2, 3, 3, 3, 4, 4, 4, 6, 7, 8],
        [0, 1, 2, 3, 4, 5, 3, 4, 5, 6, 7, 8],
    ]
    assert end == 9


@pytest.mark.parametrize(
    'ids, image_grids, words',
    [
        ([7, 5, 5], [(4, 4)], '2 image tokens'),
        ([7, 5, 5, 5, 5], [], '4 image tokens'),
        ([7, 5, 5, 7, 5, 5], [(4, 4)], 'interrupted'),
    ],
)
def test_image_tokens_that_do_not_match_their_grids_are_refused(ids, image_grids, words):
    with pytest.raises(ValueError, match=words):
        mrope_positions(np.array(ids), image_grids, IMAGE)


@settings(deadline=None, max_examples=60)
@given(grids)
def test_windows_hold_the_patches_that_transformers_windows_hold(grid):
    """Equal sets of patches by window number, every window in one place; coordinates of every patch; as few places as two thirds full would need."""
    torch = pytest.importorskip('torch')
    utils = pytest.importorskip('transformers.vision_utils')
    thw = torch.tensor([[1, *grid]])
    index, bounds = utils.get_vision_window_index(thw, spatial_merge_size=2, window_size=112, patch_size=14)
    coordinates = utils.get_vision_position_ids(thw, 2).numpy()
    slots, groups, rows, cols, numbers = layout(grid)
    np.testing.assert_array_equal(np.stack([rows, cols], axis=1), coordinates)
    assert len(set(slots.tolist())) == len(slots) == grid[0] * grid[1]
    assert slots.max() // 64 + 1 == windows_needed(grid) <= -(-grid[0] * grid[1] * 3 // (64 * 2))
    bounds = bounds.tolist()
    assert len(bounds) - 1 == numbers.max()
    for window, (a, b) in enumerate(zip(bounds[:-1], bounds[1:], strict=True)):
        theirs = index[a // 4 : b // 4].tolist()
        own = numbers == window + 1
        assert sorted(np.flatnonzero(own[::4])) == sorted(theirs)
        assert len(set(slots[own] // 64)) == 1 and set(slots[own] // 4) == set(groups[own[::4]])


def test_the_drawn_layout_of_the_module_is_true():
    slots, groups, _, _, window = layout((6, 10))
    assert groups.tolist() == [0, 1, 2, 3, 12, 4, 5, 6, 7, 13, 8, 9, 10, 11, 14]
    assert window[np.argsort(slots)].tolist() == [1] * 48 + [2] * 12


def test_every_patch_lands_in_its_slot():
    grid = (10, 14)
    values = np.arange(140, dtype=np.float32)[:, None] * np.ones((1, 4), np.float32)
    out = vision_inputs([SimpleNamespace(values=values, grid=grid)], 2, 5, 40)
    assert (out.window[0] > 0).sum() == 140 and not out.window[1].any()
    # Patch p of the merge-block order lies at row 2 * (p // 4 // 7) + p % 4 // 2.
    p = out.patches[0, ..., 0][out.window[0] > 0].astype(int)
    np.testing.assert_array_equal(out.rows[0][out.window[0] > 0], 2 * (p // 4 // 7) + p % 4 // 2)
    np.testing.assert_array_equal(out.cols[0][out.window[0] > 0], 2 * (p // 4 % 7) + p % 2)
    np.testing.assert_array_equal(np.sort(p), np.arange(140))


def test_a_layout_without_images_has_the_shape_of_one_with():
    assert vision_inputs([], 2, 4, 16).patches.shape == (2, 4, 64, 1176)


@pytest.mark.parametrize(
    'grid, patches, limits, words',
    [
        ((10, 14), 140, (1, 2, 40), 'needs 3 windows'),
        ((10, 14), 140, (1, 3, 30), '35 tokens'),
        ((10, 14), 130, (1, 4, 40), '130 patches'),
        ((5, 28), 140, (1, 4, 40), 'blocks of 2 x 2'),
        ((10, 14), 140, (0, 4, 40), '1 images do not fit'),
    ],
)
def test_an_image_that_does_not_fit_is_refused(grid, patches, limits, words):
    image = SimpleNamespace(values=np.zeros((patches, 4), np.float32), grid=grid)
    with pytest.raises(ValueError, match=words):
        vision_inputs([image], *limits)
