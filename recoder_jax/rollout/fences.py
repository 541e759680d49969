"""Cutting responses where their block is closed."""

import numpy as np

from recoder_jax.dialogue.encoder import Encoder
from recoder_jax.dialogue.response import FENCE, block_is_closed, thoughts_are_open
from recoder_jax.languages.language import Language
from recoder_jax.sampling.engine import Engine, Said
from recoder_jax.sampling.places import Request


class Fences:
    """Looks at what rows say, token by token, so that the length of a chunk does not decide where a response is cut."""

    def __init__(self, encoder: Encoder, language: Language):
        self._encoder, self._language, self._seen = encoder, language, {}

    def cut(self, engine: Engine, ended: list[Said]) -> list[Said]:
        """`ended` responses, cut where their block was closed, and those of rows that speak on behind a closed block."""
        found = []
        for said in ended:
            count = self.closed(said.request, said.row, said.tokens)
            found.append(said if count is None else engine.stop(said.request, said.row, keep=count))
            self._seen.pop((said.request, said.row), None)
        for request, row in engine.speaking():
            count = self.closed(request, row, engine.spoken(request, row)[0])
            if count is not None:
                found.append(engine.stop(request, row, keep=count))
                del self._seen[request, row]
        return found

    def closed(self, request: Request, row: int, tokens: np.ndarray) -> int | None:
        """Tokens up to the one that closes the block; None while it is open. Tokens looked at before are not looked at again."""
        begin = self._seen.get((request, row), 0)
        self._seen[request, row] = len(tokens)
        for count in range(begin + 1, len(tokens) + 1):
            if FENCE[0] not in self._encoder.decode(tokens[count - 1 : count]):
                continue
            text = self._encoder.decode(tokens[:count])
            if block_is_closed(text, self._language) and not thoughts_are_open(text):
                return count
        return None
