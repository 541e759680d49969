"""The reward of one turn: a weighted sum of named parts, each in [0, 1].

    R = rest * format + alpha * rule + beta * model + similarity * similarity + textual * textual + executed * executed
        + visual * visual + language * language + attributes * attributes

`rest` is 1 minus the sum of the others. The parts are described in parts.py. Papers are choices of the weights:

    MM-ReCoder (arXiv 2604.01600)    (1 - alpha - beta) * format + alpha * rule + beta * model
    MSRL (arXiv 2508.13587)          (wt * textual + wv * visual + we * executed) / (wt + wv + we); visual is model or similarity
    VinciCoder (arXiv 2511.00391)    0.9 * visual + 0.1 * language
    ChartMaster (arXiv 2508.17608)   (visual + attributes) / 2

Where executions have no elements (a language with a renderer), there is no rule part, and the scores of a turn are those of picture.py.

A constant factor of all weights changes no advantage that is divided by its group's standard deviation. With a ramp the weights
move linearly over the first updates (`Mixture.at`). `on_missing` says what a part means that could not be had:

    renormalise   the other weights are scaled to sum to 1
    drop_group    as above, and the group of the trajectory carries no advantage (rollout/lessons.py)
    zero          it counts as 0
"""

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace

import numpy as np

from recoder_jax.charts.execution import Execution
from recoder_jax.charts.scores import RuleScore, rule_score
from recoder_jax.dialogue.response import Response
from recoder_jax.rewards.judge_prompt import ITEMS
from recoder_jax.rewards.judgement import AskedForJudgements, Judgement, PendingJudgement
from recoder_jax.rewards.parts import PARTS, Case
from recoder_jax.rewards.picture import PictureScore, picture_score
from recoder_jax.rewards.textual import PARTS as TEXTUAL_PARTS
from recoder_jax.rewards.textual import TextualOptions, TextualScore, textual_score
from recoder_jax.rewards.visual import Visual

ON_MISSING = ('renormalise', 'drop_group', 'zero')
ALWAYS = ('format', 'rule')      # logged whatever their weight
WEIGHTS = ('alpha', 'beta', 'similarity', 'textual', 'executed', 'visual', 'language', 'attributes')


@dataclass(frozen=True)
class PartScore:
    """One part of one reward; score None when it could not be had."""

    name: str
    weight: float
    score: float | None


@dataclass(frozen=True)
class Reward:
    """total: mixture in [0, 1]. scored: its parts. scores: of the rule, or of the picture. judgement: None where no judge was asked.
    textual: None where it has no weight."""

    total: float
    scored: tuple[PartScore, ...]
    scores: RuleScore | PictureScore
    judgement: Judgement | None = None
    textual: TextualScore | None = None

    def part(self, name: str) -> float | None:
        """Score of a part; None when it could not be had, or was not asked for."""
        return next((part.score for part in self.scored if part.name == name), None)

    @property
    def missing(self) -> tuple[str, ...]:
        """Names of the parts that could not be had."""
        return tuple(part.name for part in self.scored if part.score is None)

    def parts(self) -> dict[str, float]:
        """Every part and score by its name in logs and reports, with the judge's items and the parts of the textual reward."""
        named = {'total': self.total} | {part.name: part.score for part in self.scored if part.score is not None}
        return named | self.items() | self.scores.measures() | {'executed': float(self.scores.executed)}

    def items(self) -> dict[str, float]:
        """What parts are made of. `judge/<item>`: share of the points that the judge gave; 0 for a turn without a render, nothing
        without a judgement. `textual/<part>`: F of each part that could be read, nothing where the textual part has no weight."""
        found = {}
        if self.judgement is not None and self.judgement.score is not None:
            found = {f'judge/{item.name}': self.judgement.items.get(item.name, 0.0) / item.points for item in ITEMS}
        read = {} if self.textual is None else {name: getattr(self.textual, name) for name in TEXTUAL_PARTS}
        return found | {f'textual/{name}': value for name, value in read.items() if value is not None}


@dataclass(frozen=True)
class Ramp:
    """Weights at the first update, of which those left out are 0, and the updates until those of the mixture are reached."""

    steps: int
    alpha: float = 0.0
    beta: float = 0.0
    similarity: float = 0.0
    textual: float = 0.0
    executed: float = 0.0
    visual: float = 0.0
    language: float = 0.0
    attributes: float = 0.0


@dataclass(frozen=True)
class Mixture:
    """Weights of the parts; format has what the others leave. With beta > 0 a judge is needed, with visual > 0 an observer.
    textual_options: how texts and data are compared. ramp: None holds the weights from the start."""

    alpha: float
    beta: float
    judge: AskedForJudgements | None = None
    similarity: float = 0.0
    on_missing: str = 'renormalise'
    textual: float = 0.0
    executed: float = 0.0
    textual_options: TextualOptions = TextualOptions()
    ramp: Ramp | None = None
    visual: float = 0.0
    language: float = 0.0
    attributes: float = 0.0
    observer: Visual | None = None

    def __post_init__(self):
        for one in (self, self.ramp) if self.ramp else (self,):
            weights = {name: getattr(one, name) for name in WEIGHTS}
            if min(weights.values()) < 0 or not sum(weights.values()) <= 1 + 1e-9:
                given = ', '.join(f'{name} {value}' for name, value in weights.items())
                raise ValueError(f'the weights of the reward are {given}; all must be >= 0 and their sum <= 1')
            if one.beta == 1 and self.on_missing == 'renormalise':
                raise ValueError('reward.beta is 1, so a judge that does not answer leaves nothing to rescale; '
                                 'choose another reward.on_missing')
            if one.beta > 0 and self.judge is None:
                raise ValueError(f'reward.beta is {one.beta} but there is no judge; set judge.base_url or judge.policy, or reward.beta to 0')
            if one.visual > 0 and self.observer is None:
                raise ValueError(f'reward.visual is {one.visual} but nothing looks at renders; set visual.weights, or reward.visual to 0')
        if self.on_missing not in ON_MISSING:
            raise ValueError(f'reward.on_missing is {self.on_missing!r}; choose one of {", ".join(ON_MISSING)}')

    def at(self, step: int) -> 'Mixture':
        """The mixture of an update, counted from 0: weight = start + (end - start) * min(1, step / ramp.steps)."""
        if self.ramp is None:
            return self
        share = min(1.0, step / self.ramp.steps)
        weights = {name: (1 - share) * getattr(self.ramp, name) + share * getattr(self, name) for name in WEIGHTS}
        return replace(self, ramp=None, **weights)

    @property
    def weights(self) -> dict[str, float]:
        """Weight by part; they sum to 1."""
        rest = max(0.0, 1 - sum(getattr(self, name) for name in WEIGHTS))
        rest = rest if rest > 1e-9 else 0.0      # thirds do not sum to 1 exactly
        return {'format': rest, 'rule': self.alpha, 'model': self.beta, 'similarity': self.similarity,
                'textual': self.textual, 'executed': self.executed, 'visual': self.visual, 'language': self.language,
                'attributes': self.attributes}

    def ask(self, target: np.ndarray, execution: Execution) -> PendingJudgement | None:
        """Put the render before the judge, without waiting; None when the judge has no weight."""
        return self.judge.submit(target, execution.render) if self.beta > 0 else None

    def look(self, target: np.ndarray, execution: Execution) -> Future[float] | None:
        """Have the render compared with the target, without waiting; None when the visual part has no weight."""
        return self.observer.submit(target, execution.render) if self.visual > 0 else None

    def __call__(
        self, response: Response, execution: Execution, golden: Execution, judgement: Judgement | None = None,
        target: np.ndarray | None = None, program: str = '', visual: float | None = None,
    ) -> Reward:
        """Reward of a turn: its response, what running its program gave, the golden execution, what the judge said, the image of
        the chart, its golden program, what `look` gave.

        Where the golden program gave no figure nothing can be compared: the reward is 0 whatever the response.
        """
        weights = self.weights
        if not golden.ok:
            nothing = PartScore('format', weights['format'], float(response.well_formed)), PartScore('rule', weights['rule'], 0.0)
            return Reward(0.0, nothing, RuleScore(False, 0.0, 0.0, 0.0, 0.0))
        compared = golden.elements is not None
        scores = rule_score(execution, golden) if compared else picture_score(execution, target)
        textual = None
        if self.textual > 0 and compared:
            textual = textual_score(execution, golden, (response.program or '', program), self.textual_options)
        case = Case(response, execution, golden, scores, judgement if self.beta > 0 else None, target, textual, visual)
        shown = [name for name, weight in weights.items() if weight > 0 or name in ALWAYS and (compared or name != 'rule')]
        scored = tuple(PartScore(name, weights[name], PARTS[name](case)) for name in shown)
        return Reward(total(scored, self.on_missing), scored, scores, case.judgement, textual)


def total(scored: Sequence[PartScore], on_missing: str) -> float:
    """The weighted sum of the parts that could be had; 0 where none could."""
    reached = sum(part.weight * part.score for part in scored if part.score is not None)
    weight = sum(part.weight for part in scored if part.score is not None)
    if on_missing == 'zero' or all(part.score is not None for part in scored):
        return reached
    return reached / weight if weight > 0 else 0.0
