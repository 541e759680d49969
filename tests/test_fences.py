"""Where a response that is still being written is cut."""

import numpy as np

from recoder_jax.languages.python import LANGUAGE
from recoder_jax.rollout.fences import Fences


def test_code_that_is_quoted_in_thoughts_cuts_no_response():
    """Of a text that is over, thoughts without an end are taken to end at their first fence; of one that is being written they may go on."""
    quoted = "<think>\nIt was\n```python\nplt.bar(x, y)\n```\nand is to be a line.\n</think>\n```python\nplt.plot(x, y)\n```"

    class Letters:
        def decode(self, tokens):
            return "".join(map(chr, tokens))

    tokens = np.array([ord(letter) for letter in quoted + " and more"])
    assert Fences(Letters(), LANGUAGE).closed(object(), 0, tokens) == len(quoted)
    assert Fences(Letters(), LANGUAGE).closed(object(), 0, tokens[: quoted.index("and is")]) is None
