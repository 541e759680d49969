"""KL to the policy that the run started from: which tokens it weighs on, and what it takes from a reward."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from recoder_jax.learning.batch import Strand, Tree
from recoder_jax.learning.objective import kl_estimate
from recoder_jax.rollout.trajectory import Group

# trees -> the reference's log probability of each trained token: float32 [n] for each strand of each tree
Scorer = Callable[[Sequence[Tree]], list[list[np.ndarray]]]


@dataclasses.dataclass(frozen=True)
class Anchor:
    """weight: of KL on every trained token. first_turn: added on tokens of turn 1. in_reward: whether KL is taken from rewards rather than
    added to the loss. estimator: k1, k2 or k3."""

    reference: Scorer
    weight: float
    first_turn: float
    in_reward: bool
    estimator: str

    def tied(self, groups: Sequence[Group], trees: Sequence[Sequence[Tree]]) -> list[list[Tree]]:
        """The trees of each group, with the reference's log probabilities and the weight of KL on every trained token."""
        known = iter(self.reference([tree for parts in trees for tree in parts]))
        return [self._tied_group(group, parts, known) for group, parts in zip(groups, trees, strict=True)]

    def _tied_group(self, group: Group, parts: Sequence[Tree], known) -> list[Tree]:
        firsts = iter(len(t.turns[0].tokens) if group.branch_turn == 1 else 0 for t in group.trajectories)
        tied = []
        for tree in parts:
            _, *logprobs = next(known)
            suffixes = [self._tied_strand(*pair, next(firsts)) for pair in zip(tree.suffixes, logprobs, strict=True)]
            tied.append(dataclasses.replace(tree, suffixes=tuple(suffixes)))
        return tied

    def _tied_strand(self, strand: Strand, reference: np.ndarray, first: int) -> Strand:
        anchor = np.where(np.arange(len(strand.ids)) < first, self.weight + self.first_turn, self.weight)
        return dataclasses.replace(strand, reference=reference, anchor=np.where(strand.trained, anchor, 0).astype(np.float32))

    def penalties(self, trees: Sequence[Sequence[Tree]]) -> np.ndarray:
        """What KL takes from each trajectory's reward, float [N, G]: the weighted sum of the estimates at its trained tokens, by the
        sampler's log probabilities."""
        return np.array([[self._penalty(strand) for tree in parts for strand in tree.suffixes] for parts in trees])

    def _penalty(self, strand: Strand) -> float:
        estimate = np.asarray(kl_estimate(strand.logprobs, strand.reference, self.estimator))
        return float((strand.anchor * estimate)[strand.trained].sum())


def valued(parts: Sequence[Tree], advantages: np.ndarray) -> list[Tree]:
    """The trees of a group with its advantages [G], in the order of its suffixes."""
    rest = iter(advantages)
    return [dataclasses.replace(tree, advantages=tuple(float(next(rest)) for _ in tree.suffixes)) for tree in parts]
