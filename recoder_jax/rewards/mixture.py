"""The reward of one turn: a weighted sum of named parts, each in [0, 1] (MM-ReCoder, arXiv 2604.01600).

    R = (1 - alpha - beta - similarity) * format + alpha * rule + beta * model + similarity * similarity

The paper has similarity = 0. The parts are described in parts.py. `on_missing` says what a part means that could not be had:

    renormalise   the other weights are scaled to sum to 1
    drop_group    as above, and the group of the trajectory carries no advantage (rollout/lessons.py)
    zero          it counts as 0
"""

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np

from recoder_jax.charts.execution import Execution
from recoder_jax.charts.scores import RuleScore, rule_score
from recoder_jax.dialogue.response import Response
from recoder_jax.rewards.judge import ITEMS, Judge
from recoder_jax.rewards.judgement import Judgement
from recoder_jax.rewards.parts import PARTS, Case

ON_MISSING = ('renormalise', 'drop_group', 'zero')
ALWAYS = ('format', 'rule')      # logged whatever their weight


@dataclass(frozen=True)
class PartScore:
    """One part of one reward; score None when it could not be had."""

    name: str
    weight: float
    score: float | None


@dataclass(frozen=True)
class Reward:
    """total: mixture in [0, 1]. scored: its parts. scores: of the rule. judgement: None where no judge was asked."""

    total: float
    scored: tuple[PartScore, ...]
    scores: RuleScore
    judgement: Judgement | None = None

    def part(self, name: str) -> float | None:
        """Score of a part; None when it could not be had, or was not asked for."""
        return next((part.score for part in self.scored if part.name == name), None)

    @property
    def missing(self) -> tuple[str, ...]:
        """Names of the parts that could not be had."""
        return tuple(part.name for part in self.scored if part.score is None)

    def parts(self) -> dict[str, float]:
        """Every part and score by its name in logs and reports; the judge's items as shares of their points."""
        scores = self.scores
        named = {'total': self.total} | {part.name: part.score for part in self.scored if part.score is not None}
        return named | self.items() | {
            'text': scores.text, 'layout': scores.layout, 'chart_type': scores.chart_type, 'color': scores.color,
            'low_level': scores.low_level, 'executed': float(scores.executed),
        }

    def items(self) -> dict[str, float]:
        """`judge/<item>`: share of the points that the judge gave; 0 for a turn without a render, nothing without a judgement."""
        if self.judgement is None or self.judgement.score is None:
            return {}
        return {f'judge/{item.name}': self.judgement.items.get(item.name, 0.0) / item.points for item in ITEMS}


@dataclass(frozen=True)
class Mixture:
    """Weights of the parts; format has what the others leave. With beta > 0 a judge is needed."""

    alpha: float
    beta: float
    judge: Judge | None = None
    similarity: float = 0.0
    on_missing: str = 'renormalise'

    def __post_init__(self):
        weights = self.alpha, self.beta, self.similarity
        if min(weights) < 0 or not sum(weights) <= 1 + 1e-9:
            raise ValueError(f'reward.alpha is {self.alpha}, reward.beta is {self.beta} and reward.similarity is {self.similarity}; '
                             'all must be >= 0 and their sum <= 1')
        if self.on_missing not in ON_MISSING:
            raise ValueError(f'reward.on_missing is {self.on_missing!r}; choose one of {", ".join(ON_MISSING)}')
        if self.beta == 1 and self.on_missing == 'renormalise':
            raise ValueError('reward.beta is 1, so a judge that does not answer leaves nothing to rescale; '
                             'choose another reward.on_missing')
        if self.beta > 0 and self.judge is None:
            raise ValueError(f'reward.beta is {self.beta} but there is no judge; set judge.base_url, or reward.beta to 0')

    @property
    def weights(self) -> dict[str, float]:
        """Weight by part; they sum to 1."""
        rest = max(0.0, 1 - self.alpha - self.beta - self.similarity)
        return {'format': rest, 'rule': self.alpha, 'model': self.beta, 'similarity': self.similarity}

    def ask(self, target: np.ndarray, execution: Execution) -> Future[Judgement] | None:
        """Put the render before the judge, without waiting; None when the judge has no weight."""
        return self.judge.submit(target, execution.render) if self.beta > 0 else None

    def __call__(
        self, response: Response, execution: Execution, golden: Execution, judgement: Judgement | None = None,
        target: np.ndarray | None = None,
    ) -> Reward:
        """Reward of a turn: its response, what running its program gave, the golden execution, what the judge said, the image.

        Where the golden program gave no figure nothing can be compared: the reward is 0 whatever the response.
        """
        weights = self.weights
        if golden.elements is None:
            nothing = PartScore('format', weights['format'], float(response.well_formed)), PartScore('rule', weights['rule'], 0.0)
            return Reward(0.0, nothing, RuleScore(False, 0.0, 0.0, 0.0, 0.0))
        scores = rule_score(execution, golden)
        case = Case(response, execution, golden, scores, judgement if self.beta > 0 else None, target)
        shown = [name for name, weight in weights.items() if weight > 0 or name in ALWAYS]
        scored = tuple(PartScore(name, weights[name], PARTS[name](case)) for name in shown)
        return Reward(total(scored, self.on_missing), scored, scores, case.judgement)


def total(scored: Sequence[PartScore], on_missing: str) -> float:
    """The weighted sum of the parts that could be had; 0 where none could."""
    reached = sum(part.weight * part.score for part in scored if part.score is not None)
    weight = sum(part.weight for part in scored if part.score is not None)
    if on_missing == 'zero' or all(part.score is not None for part in scored):
        return reached
    return reached / weight if weight > 0 else 0.0
