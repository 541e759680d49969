"""The picture of differences: what it shows, in which colours, and that two pictures fit a feedback or the config is refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recoder_jax.dialogue.difference import CHANGED, EXTRA, MISSING, background, difference
from recoder_jax.dialogue.encoder import Encoder, bounded_feedback, check_difference, load_tokenizer
from recoder_jax.dialogue.images import ImageProcessor
from recoder_jax.dialogue.turns import Prompts, feedback
from tests.conftest import image_of

PROMPTS = Prompts()
WHITE = (255, 255, 255)


@pytest.fixture(scope="module")
def encoder():
    return Encoder(load_tokenizer("tiny"), ImageProcessor(min_pixels=28 * 28, max_pixels=56 * 84))


def page(ground=WHITE, **blocks):
    """56 x 84 pixels of one colour, with blocks of 20 x 20 at columns 0, 30 and 60."""
    image = np.empty((56, 84, 3), np.uint8)
    image[:] = ground
    for name, colour in blocks.items():
        column = {"left": 0, "middle": 30, "right": 60}[name]
        image[10:30, column : column + 20] = colour
    return image


@pytest.mark.parametrize("ground", [WHITE, (30, 30, 30), (230, 240, 250)])
def test_missing_extra_and_changed_have_their_colours_on_white_whatever_the_background(ground):
    target = page(ground, left=(200, 0, 60), right=(0, 130, 250))
    render = page(ground, middle=(120, 180, 0), right=(250, 60, 0))
    shown = difference(render, target)
    assert shown.dtype == np.uint8 and shown.shape == target.shape
    assert [tuple(int(x) for x in shown[20, column]) for column in (10, 40, 70)] == [MISSING, EXTRA, CHANGED]
    assert (shown[40:] == 255).all()


def test_a_line_that_has_turned_grey_has_changed_and_is_not_missing():
    assert tuple(int(x) for x in difference(page(left=(127, 127, 127)), page(left=(255, 0, 0)))[20, 10]) == CHANGED


def test_render_of_another_size_is_compared_at_the_size_of_the_target():
    target = page(left=(0, 0, 0))
    large = np.repeat(np.repeat(target, 3, axis=0), 3, axis=1)
    shown = difference(large, target)
    assert shown.shape == target.shape
    assert (shown[:, 30:] == 255).all() and (shown[15:25, 5:15] == 255).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 40), st.integers(1, 40))
def test_equal_pictures_show_nothing_and_a_picture_is_a_function_of_two(seed, height, width):
    target, render = image_of(seed, height, width), image_of(seed + 1, height, width)
    assert (difference(target, target) == 255).all()
    before = target.copy(), render.copy()
    np.testing.assert_array_equal(difference(render, target), difference(render, target))
    assert (before[0] == target).all() and (before[1] == render).all()


def test_background_is_the_commonest_colour():
    assert background(page((17, 34, 250), left=(0, 0, 0))).tolist() == [17, 34, 250]


def test_an_array_that_is_no_image_is_refused():
    with pytest.raises(ValueError, match="must be an array uint8"):
        difference(np.zeros((5, 5, 3)), page())


def test_feedback_shows_render_and_difference_with_the_sentence_that_explains_them():
    render, target = page(left=(0, 0, 0)), page(right=(0, 0, 0))
    shown, picture, text = feedback(render, "ignored", PROMPTS, target).content
    assert shown is render and text == PROMPTS.compare and all(word in text for word in ("blue", "red", "green"))
    np.testing.assert_array_equal(picture, difference(render, target))
    assert feedback(None, "KeyError", PROMPTS, target).content == feedback(None, "KeyError", PROMPTS).content
    assert feedback(render, "", PROMPTS).content == (render, PROMPTS.revise)


def test_without_a_target_or_without_a_render_tokens_are_those_of_before(encoder):
    render, target = image_of(0, 56, 84), image_of(1, 56, 84)
    plain = bounded_feedback(encoder, render, "", PROMPTS, 400)
    both = bounded_feedback(encoder, render, "", PROMPTS, 400, target)
    assert [len(piece.images) for piece in (plain, both)] == [1, 2] and both.images[0].key == plain.images[0].key
    failed = bounded_feedback(encoder, None, "KeyError", PROMPTS, 400, target)
    assert failed.ids.tolist() == bounded_feedback(encoder, None, "KeyError", PROMPTS, 400).ids.tolist()
    assert bounded_feedback(encoder, render, "", PROMPTS, len(plain), target).ids.tolist() == plain.ids.tolist()


def test_the_cap_that_is_accepted_holds_the_longest_pair_of_pictures(encoder):
    longest = len(bounded_feedback(encoder, image_of(0, 56, 84), "", PROMPTS, 10**6, image_of(1, 56, 84)))
    check_difference(encoder, PROMPTS, longest + 1)  # 1: the end of a response that was cut
    with pytest.raises(ValueError, match=f"may take {longest + 1} tokens but rollout.feedback_tokens is {longest}; raise it"):
        check_difference(encoder, PROMPTS, longest)
