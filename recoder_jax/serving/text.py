"""What a row says, as text that grows token by token: whole UTF-8 characters, cut before the first stop string.

    token ──► bytes ──► characters ──► stop strings ──► what may be shown

A character is shown when its last byte has come, and when it can no longer be part of a stop string. Of several stop strings the one that
is complete first cuts, of those complete at the same character the longest. All is decided character by character, so neither the split
into tokens nor the split of tokens into chunks changes the text.
"""

import codecs
import dataclasses
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True)
class Spoken:
    """A token that stands in the text, with its log probability under the full distribution at temperature 1."""

    token: int
    logprob: float


class StopString:
    """How much of a stop string the characters so far end with (Knuth, Morris and Pratt's automaton)."""

    def __init__(self, text: str):
        self.text, self.matched, self._border = text, 0, [0] * len(text)
        for n in range(1, len(text)):
            self._border[n] = self._next(self._border[n - 1], text[n])

    def add(self, char: str) -> bool:
        """Whether the stop string is complete with this character. Not to be called after it was."""
        self.matched = self._next(self.matched, char)
        return self.matched == len(self.text)

    def _next(self, matched: int, char: str) -> int:
        while matched and self.text[matched] != char:
            matched = self._border[matched - 1]
        return matched + (self.text[matched] == char)


class Utterance:
    """The text of one response. spelling: bytes of each id, none for ids that are no text. stops: none of them empty.

    count: tokens taken so far. stopped: a stop string is complete; no token is to be added after that.
    """

    def __init__(self, spelling: Sequence[bytes], stops: Sequence[str] = ()):
        self.count, self.stopped = 0, False
        self._spelling, self._stops = spelling, [StopString(stop) for stop in stops]
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._length = 0  # characters so far, but for those behind the cut
        self._shown = 0  # of them, taken
        self._waiting = ""  # the others
        self._tokens: list[tuple[int, Spoken]] = []  # not taken, each with the character that its first byte is in
        self._over = False

    def add(self, token: int, logprob: float) -> None:
        """One token more."""
        self.count += 1
        data = self._spelling[token]
        if not data:
            return
        text = self._decoder.decode(data[:1])
        inside = self._decoder.getstate()[0]  # the first byte is in a character that is not complete yet
        self._tokens.append((self._length + len(text) - (not inside), Spoken(token, logprob)))
        self._read(text + self._decoder.decode(data[1:]))

    def end(self) -> None:
        """No token comes any more: what was held back may be shown, a broken character at the end as U+FFFD."""
        if not self.stopped:
            self._read(self._decoder.decode(b"", final=True))
        self._over = True

    def take(self) -> tuple[str, list[Spoken]]:
        """Text that may be shown since the last call, and the tokens that begin in it."""
        held = 0 if self.stopped or self._over else max((stop.matched for stop in self._stops), default=0)
        size = len(self._waiting) - held
        text, self._waiting = self._waiting[:size], self._waiting[size:]
        self._shown += size
        begun = sum(at < self._shown for at, _ in self._tokens)
        tokens, self._tokens = self._tokens[:begun], self._tokens[begun:]
        return text, [spoken for _, spoken in tokens]

    def _read(self, text: str) -> None:
        if not self._stops:
            self._length += len(text)
            self._waiting += text
            return
        for char in text:
            self._length += 1
            self._waiting += char
            complete = [len(stop.text) for stop in self._stops if stop.add(char)]
            if complete:
                self.stopped = True
                self._length -= max(complete)
                self._waiting = self._waiting[: self._length - self._shown]
                return
