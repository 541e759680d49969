"""The text of an answer does not depend on how it is split into tokens and chunks, and never shows what is taken back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recoder_jax.dialogue.encoder import Encoder, load_tokenizer
from recoder_jax.dialogue.images import ImageProcessor
from recoder_jax.serving.text import Utterance

ENCODER = Encoder(load_tokenizer("tiny"), ImageProcessor())
SPELLING = ENCODER.spelling()
BYTES = [bytes([n]) for n in range(256)]  # ids that are bytes

texts = st.text(alphabet=st.sampled_from("abé☃😀\n"), max_size=30)
stops = st.lists(st.text(alphabet=st.sampled_from("abé☃😀"), min_size=1, max_size=4), max_size=4)
ids = st.lists(st.integers(0, ENCODER.vocab_size - 1), max_size=40)
junk = st.binary(max_size=30)


def expected(text: str, stops) -> str:
    """The text before the stop string that is complete first, by looking at every beginning of the text."""
    for end in range(len(text) + 1):
        found = [len(stop) for stop in stops if text[:end].endswith(stop)]
        if found:
            return text[: end - max(found)]
    return text


def said(spelling, tokens, stops, cuts):
    """Pieces of an answer that is looked at after the tokens in `cuts`."""
    utterance, pieces = Utterance(spelling, stops), []
    for n, token in enumerate(tokens):
        utterance.add(token, -float(n))
        if utterance.stopped:
            break
        if n in cuts:
            pieces.append(utterance.take())
    utterance.end()
    return [*pieces, utterance.take()], utterance


@settings(deadline=None)
@given(ids, st.sets(st.integers(0, 40)))
def test_pieces_join_to_what_the_encoder_decodes(tokens, cuts):
    pieces, utterance = said(SPELLING, tokens, (), cuts)
    assert "".join(text for text, _ in pieces) == ENCODER.decode(tokens) and utterance.count == len(tokens)
    spoken = [one for _, tokens in pieces for one in tokens]
    assert [one.token for one in spoken] == [token for token in tokens if SPELLING[token]]


@settings(max_examples=300, deadline=None)
@given(texts, stops, st.sets(st.integers(0, 100)), st.data())
def test_the_text_ends_before_the_first_stop_string_however_it_is_split(text, stops, cuts, data):
    raw, spelling = text.encode(), []
    at = 0
    while at < len(raw):
        size = data.draw(st.integers(1, 6))
        spelling.append(raw[at : at + size])
        at += size
    pieces, utterance = said(spelling, range(len(spelling)), stops, cuts)
    shown = "".join(piece for piece, _ in pieces)
    assert shown == expected(text, stops) and utterance.stopped == any(stop in text for stop in stops)
    assert "\ufffd" not in shown
    for n in range(len(pieces)):  # nothing is taken back
        assert shown.startswith("".join(piece for piece, _ in pieces[: n + 1]))


@settings(deadline=None)
@given(junk, stops, st.sets(st.integers(0, 30)))
def test_logprobs_cover_the_tokens_that_begin_in_the_text(raw, stops, cuts):
    pieces, _ = said(BYTES, raw, stops, cuts)
    text, tokens = "".join(piece for piece, _ in pieces), [one for _, tokens in pieces for one in tokens]
    assert text == expected(raw.decode("utf-8", "replace"), stops)
    assert [one.logprob for one in tokens] == [-float(n) for n in range(len(tokens))]
    assert bytes(one.token for one in tokens).decode("utf-8", "replace") == text


@pytest.mark.parametrize(
    ("stop", "text", "shown"),
    [("aab", "aaax", ["", "", "a", "aax"]), ("abc", "aabx", ["", "a", "", "abx"]), ("abab", "abaabab", ["", "", "", "aba", "", "", ""])],
)
def test_text_waits_as_long_as_it_may_be_a_stop_string_and_no_longer(stop, text, shown):
    utterance, seen = Utterance(BYTES, (stop,)), []
    for token in text.encode():
        utterance.add(token, 0.0)
        seen.append(utterance.take()[0])
    assert seen == shown


def test_a_character_is_shown_when_its_last_byte_has_come():
    utterance, seen = Utterance(BYTES), []
    for token in "a☃😀".encode():
        utterance.add(token, 0.0)
        seen.append(utterance.take()[0])
    assert seen == ["a", "", "", "☃", "", "", "", "😀"]
    utterance.add("☃".encode()[0], 0.0)
    assert utterance.take()[0] == ""
    utterance.end()
    assert utterance.take()[0] == "\ufffd"


def test_special_tokens_are_no_text():
    special = {ENCODER.start_id, ENCODER.end_id, ENCODER.pad_id, ENCODER.image_id}
    assert not any(SPELLING[token] for token in special)
    tokens = np.array([*ENCODER.encode("x = 1"), ENCODER.end_id])
    pieces, utterance = said(SPELLING, tokens, (), set())
    assert pieces[0][0] == "x = 1" and utterance.count == len(tokens)
