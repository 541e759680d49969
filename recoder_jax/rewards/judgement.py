"""What a judge said, or why it said nothing."""

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from recoder_jax.rewards.judge_forms import Form


class FailureKind(enum.StrEnum):
    """Why there is no judgement."""

    timeout = 'timeout'              # its deadline passed
    queued = 'queued'                # it waited too long for its turn
    refused = 'refused'              # the server does not take the question: key, model, address or content
    unreachable = 'unreachable'      # no connection
    overloaded = 'overloaded'        # the server asked for patience until the deadline
    broken = 'broken'                # the server answered with an error, or with something that is no completion
    unusable = 'unusable'            # the reply holds no points
    too_large = 'too_large'          # the question or the reply is too large
    closed = 'closed'                # the judge was closed first
    internal = 'internal'            # a mistake of ours


@dataclass(frozen=True)
class Judgement:
    """What the judge said.

    Attributes:
      score: share of the points of its form (judge_forms.py), in [0, 1]; None when no judgement could be had.
      items: points per item; empty when score is None or nothing was drawn.
      failure: one sentence when score is None, else None.
      kind: of the failure, None when there is a score.
      seconds: from the moment the question was first put to a server to the judgement; 0 when nobody was asked.
      cached: whether the judgement was given earlier, to the same question.
      prompt_tokens, reply_tokens: as the server counts them, 0 where it does not say.
    """

    score: float | None
    items: dict[str, float] = field(default_factory=dict)
    failure: str | None = None
    kind: FailureKind | None = None
    seconds: float = field(default=0.0, compare=False)
    cached: bool = field(default=False, compare=False)
    prompt_tokens: int = field(default=0, compare=False)
    reply_tokens: int = field(default=0, compare=False)


class AskedForJudgements(Protocol):
    """What the mixture needs of a judge, whether it stands behind a server or in this process."""

    def submit(self, reference: np.ndarray, render: np.ndarray | None, fresh: bool = False) -> 'PendingJudgement':
        """Asks for the six items, without waiting."""

    def put(self, form: Form, text: str = '', images: Sequence[np.ndarray] = ()) -> 'PendingJudgement':
        """Asks a question of another form, without waiting."""


class PendingJudgement(Protocol):
    """A judgement that is under way."""

    def result(self) -> Judgement:
        """The judgement, waited for; a failure is one too."""


def failed(kind: FailureKind, sentence: str) -> Judgement:
    return Judgement(score=None, failure=sentence, kind=kind)
