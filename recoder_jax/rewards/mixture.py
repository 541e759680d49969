"""The reward of one turn: format, rule and model parts, each in [0, 1], and their mixture (MM-ReCoder, arXiv 2604.01600).

    R = (1 - alpha - beta) * format + alpha * rule + beta * model

format: 1 iff the response is `<think>...</think>` followed by one fenced python block. rule: mean of text, layout, chart type
and colour F1, 0 when the program fails. model: the judge's score of the render, 0 without a render.
"""

import dataclasses
from concurrent.futures import Future

import numpy as np

from recoder_jax.charts.sandbox import Execution
from recoder_jax.charts.scores import RuleScore, rule_score
from recoder_jax.dialogue.response import Response
from recoder_jax.rewards.judge import Judge, Judgement


@dataclasses.dataclass(frozen=True)
class Reward:
    """total: mixture in [0, 1]. model: None when no judge is asked, or when it did not answer. scores: parts of the rule."""

    total: float
    format: float
    rule: float
    model: float | None
    scores: RuleScore

    def parts(self) -> dict[str, float]:
        """Every part and score by its name in logs and reports."""
        named = {"total": self.total, "format": self.format, "rule": self.rule}
        if self.model is not None:
            named["model"] = self.model
        scores = self.scores
        return named | {
            "text": scores.text, "layout": scores.layout, "chart_type": scores.chart_type, "color": scores.color,
            "low_level": scores.low_level, "executed": float(scores.executed),
        }


@dataclasses.dataclass(frozen=True)
class Mixture:
    """Weights of the parts. With beta > 0 a judge is needed; when it does not answer, the other parts are rescaled to sum to 1."""

    alpha: float
    beta: float
    judge: Judge | None = None

    def __post_init__(self):
        if self.alpha < 0 or self.beta < 0 or self.alpha + self.beta > 1 or self.beta == 1:
            raise ValueError(
                f"reward.alpha is {self.alpha} and reward.beta is {self.beta}; both must be >= 0, beta below 1 and their sum <= 1"
            )
        if self.beta > 0 and self.judge is None:
            raise ValueError(f"reward.beta is {self.beta} but there is no judge; set judge.base_url, or reward.beta to 0")

    def ask(self, target: np.ndarray, execution: Execution) -> Future[Judgement] | None:
        """Put the render before the judge, without waiting; None when the judge has no weight."""
        return self.judge.submit(target, execution.render) if self.beta > 0 else None

    def __call__(self, response: Response, execution: Execution, golden: Execution, judgement: Judgement | None) -> Reward:
        """Reward of a turn: its response, what running its program gave, the golden execution and what the judge said.

        Where the golden program gave no figure nothing can be compared: the reward is 0 whatever the response.
        """
        form = float(response.well_formed)
        if golden.elements is None:
            return Reward(0.0, form, 0.0, None, RuleScore(False, 0.0, 0.0, 0.0, 0.0))
        scores = rule_score(execution, golden)
        model = judgement.score if judgement else None
        total = (1 - self.alpha - self.beta) * form + self.alpha * scores.low_level
        total = total / (1 - self.beta) if model is None else total + self.beta * model
        return Reward(total, form, scores.low_level, model, scores)
