"""Answers in the form of OpenAI's chat completions: whole, or as the chunks of a stream."""

import dataclasses
import json
import time
import uuid
from collections.abc import Iterator, Sequence

from recoder_jax.serving.text import Spoken
from recoder_jax.serving.worker import Piece


@dataclasses.dataclass
class _Row:
    """What a row said so far."""

    text: list[str] = dataclasses.field(default_factory=list)
    tokens: list[Spoken] = dataclasses.field(default_factory=list)
    finish: str | None = None
    count: int = 0


class Answer:
    """Gathers the pieces of `rows` answers. prompt: its tokens. spelling: bytes of each id. logprobs, usage: whether asked for."""

    def __init__(self, model: str, rows: int, prompt: int, spelling: Sequence[bytes], logprobs: bool, usage: bool = False):
        self._head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": model}
        self._rows, self._prompt, self._spelling = [_Row() for _ in range(rows)], prompt, spelling
        self._logprobs, self._usage = logprobs, usage

    def add(self, piece: Piece) -> None:
        row = self._rows[piece.row]
        row.text.append(piece.text)
        row.tokens += piece.tokens
        row.finish, row.count = piece.finish, piece.count

    def whole(self) -> dict:
        choices = [
            {
                "index": index, "message": {"role": "assistant", "content": "".join(row.text), "refusal": None},
                "logprobs": self._logprobs_of(row.tokens), "finish_reason": row.finish,
            }
            for index, row in enumerate(self._rows)
        ]  # fmt: skip
        return {**self._head, "object": "chat.completion", "choices": choices, "usage": self._counts()}

    def opening(self) -> Iterator[dict]:
        """The first chunk of each answer."""
        for index in range(len(self._rows)):
            yield self._chunk([self._choice(index, {"role": "assistant", "content": ""}, [], None)])

    def chunks(self, piece: Piece) -> Iterator[dict]:
        """What a stream says of a piece, which `add` has taken."""
        if piece.text:
            yield self._chunk([self._choice(piece.row, {"content": piece.text}, piece.tokens, None)])
        if piece.finish:
            yield self._chunk([self._choice(piece.row, {}, [], piece.finish)])

    def closing(self) -> Iterator[dict]:
        """The chunk with the counts, where it is asked for."""
        if self._usage:
            yield self._chunk([]) | {"usage": self._counts()}

    def _chunk(self, choices: list[dict]) -> dict:
        return {**self._head, "object": "chat.completion.chunk", "choices": choices} | ({"usage": None} if self._usage else {})

    def _choice(self, index: int, delta: dict, tokens: Sequence[Spoken], finish: str | None) -> dict:
        logprobs = self._logprobs_of(tokens) if tokens else None
        return {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}

    def _logprobs_of(self, tokens: Sequence[Spoken]) -> dict | None:
        if not self._logprobs:
            return None
        content = [
            {
                "token": self._spelling[one.token].decode("utf-8", "replace"), "bytes": list(self._spelling[one.token]), "logprob": one.logprob,
                "top_logprobs": [],
            }
            for one in tokens
        ]  # fmt: skip
        return {"content": content, "refusal": None}

    def _counts(self) -> dict:
        said = sum(row.count for row in self._rows)
        return {"prompt_tokens": self._prompt, "completion_tokens": said, "total_tokens": self._prompt + said}


def event(value: dict) -> bytes:
    """A server-sent event."""
    return b"data: " + json.dumps(value, separators=(",", ":")).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"
