"""What a rollout leaves: groups of trajectories over one chart, a tree with one branching point."""

import dataclasses

import numpy as np

from recoder_jax.charts.chart import Chart
from recoder_jax.charts.sandbox import Execution
from recoder_jax.dialogue.encoder import Tokens
from recoder_jax.dialogue.response import Response
from recoder_jax.learning.batch import Tree, strand
from recoder_jax.rewards.mixture import Reward


@dataclasses.dataclass(frozen=True, eq=False)
class Turn:
    """One turn as it was played.

    number: from 1. tokens: int32 [n], as sampled, the end token included unless the response was cut. logprobs: float32 [n].
    reward: None where there is no golden program. feedback: the tokens given after this turn, None after the last.
    """

    number: int
    tokens: np.ndarray
    logprobs: np.ndarray
    ended: bool
    response: Response
    execution: Execution
    reward: Reward | None
    feedback: Tokens | None

    @property
    def compared(self) -> bool:
        """Whether the feedback shows a picture of the differences beside the render."""
        return self.feedback is not None and len(self.feedback.images) > 1


@dataclasses.dataclass(frozen=True)
class Trajectory:
    """One sampled dialogue: all its turns, the shared ones included, and its reward.

    complete: whether every part of the rewards that count could be had; a judge may not have answered.
    """

    turns: tuple[Turn, ...]
    reward: float
    complete: bool = True


@dataclasses.dataclass(frozen=True)
class Group:
    """G trajectories of one chart. Turns before `branch_turn` are the same objects in every trajectory."""

    chart: Chart
    prompt: Tokens
    branch_turn: int
    trajectories: tuple[Trajectory, ...]

    @property
    def rewards(self) -> list[float]:
        return [trajectory.reward for trajectory in self.trajectories]

    def tree(self, advantages) -> Tree:
        """The group as learning sees it: shared turns carry no loss, every turn from the branch turn on does."""
        shared = self.trajectories[0].turns[: self.branch_turn - 1]
        prefix = strand([(self.prompt, False, None), *_parts(shared, trained=False)])
        suffixes = tuple(strand(_parts(t.turns[self.branch_turn - 1 :], trained=True)) for t in self.trajectories)
        return Tree(prefix, suffixes, tuple(float(a) for a in advantages))


def _parts(turns, trained: bool) -> list[tuple[Tokens, bool, np.ndarray | None]]:
    parts = []
    for turn in turns:
        parts.append((Tokens(turn.tokens), trained, turn.logprobs))
        if turn.feedback is not None:
            parts.append((turn.feedback, False, None))
    return parts


def supervised_tree(prompt: Tokens, parts: list[tuple[Tokens, bool]]) -> Tree:
    """An SFT dialogue: the prompt, then responses and feedback in turn, (tokens, trained) each; advantage 1."""
    return Tree(strand([(prompt, False, None), *((tokens, trained, None) for tokens, trained in parts)]), (), (1.0,))
