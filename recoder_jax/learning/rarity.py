"""How rare each token of a response is among the responses of a training set: what `objective.rare` weighs the tokens of SFT with.

A token is looked at behind its two predecessors, because alone the digit of a data value is as common as any token. What stands in every
response, such as imports and the frame of calls, has share 1 and weight 1; a data value or a rare style has a small share and more weight.
"""

import dataclasses
from collections.abc import Iterable

import numpy as np

from recoder_jax.learning.batch import Tree


@dataclasses.dataclass(frozen=True, eq=False)
class Rarity:
    """What was counted. keys: int64 [K], ascending, one for each token behind two others that was met. held: int64 [K], responses that hold
    each. responses: how many were counted. vocab: ids are below it."""

    keys: np.ndarray
    held: np.ndarray
    responses: int
    vocab: int

    def share(self, ids: np.ndarray) -> np.ndarray:
        """float64 [n] in (0, 1]: (held + 1) / (responses + 1) of each token of a response, int32 [n]. What was never met has 1 / (responses + 1)."""
        keys = keys_of(ids, self.vocab)
        place = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        held = np.where(self.keys[place] == keys, self.held[place], 0)
        return (held + 1) / (self.responses + 1)

    def emphasis(self, ids: np.ndarray, power: float, most: float) -> np.ndarray:
        """float32 [n] in [1, most]: share ** -power."""
        return np.minimum(self.share(ids) ** -power, most).astype(np.float32)


def keys_of(ids: np.ndarray, vocab: int) -> np.ndarray:
    """int64 [n]: one number for each token and the two before it; 0 stands before the first."""
    base = vocab + 1
    third, second, first = (np.concatenate([np.zeros(n, np.int64), ids.astype(np.int64) + 1])[: len(ids)] for n in (0, 1, 2))
    return (first * base + second) * base + third


def count(responses: Iterable[np.ndarray], vocab: int) -> Rarity:
    """Counts responses, int32 [n] each. Raises ValueError where there is none."""
    met = [np.unique(keys_of(ids, vocab)) for ids in responses]
    if not met:
        raise ValueError("there is no response to count tokens in; give a data set with at least one")
    keys, held = np.unique(np.concatenate(met), return_counts=True)
    return Rarity(keys, held, len(met), vocab)


def emphasised(tree: Tree, rarity: Rarity, power: float, most: float) -> Tree:
    """An SFT dialogue whose trained tokens carry their emphasis."""
    whole, where = tree.prefix, np.flatnonzero(tree.prefix.trained)
    emphasis = np.ones(len(whole.ids), np.float32)
    for run in np.split(where, np.flatnonzero(np.diff(where) > 1) + 1):  # feedback stands between two responses
        emphasis[run] = rarity.emphasis(whole.ids[run], power, most)
    return dataclasses.replace(tree, prefix=dataclasses.replace(whole, emphasis=emphasis))
