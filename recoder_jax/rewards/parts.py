"""The parts a reward can be made of. A part has a name, a range of [0, 1], and says None where it could not be had.

    format      the response is `<think>...</think>` followed by one fenced block in the language of the task
    rule        mean of text, layout, chart type and colour F1 of the recorded elements; 0 when the program gave no figure
    model       the judge's share of 100 points; 0 without a render, None without a judgement
    similarity  agreement of the render's ink with the target's (similarity.py); 0 without a render
    textual     chart types, layout, texts and data values that were drawn (textual.py); 0 without a figure
    executed    the program ran and left a figure
    visual      what a pretrained model sees of the render, beside the target (visual.py); 0 without a render
    language    a closed block in the language asked for stands outside of the thoughts
    attributes  Jaccard index of layout, colours, texts and values (attributes.py); 0 without a figure

A further part is a function in PARTS and a weight in `Mixture`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from recoder_jax.charts.execution import Execution
from recoder_jax.charts.scores import RuleScore
from recoder_jax.dialogue.response import Response
from recoder_jax.rewards.attributes import attributes
from recoder_jax.rewards.judgement import Judgement
from recoder_jax.rewards.picture import PictureScore
from recoder_jax.rewards.similarity import similarity
from recoder_jax.rewards.textual import TextualScore


@dataclass(frozen=True)
class Case:
    """What a part may look at: a turn's response, what its program gave, the golden execution and how both compare.

    target: image of the chart, uint8 [H, W, 3]; None where no part looks at it. judgement: None where no judge was asked.
    textual, visual: None where the part has no weight.
    """

    response: Response
    execution: Execution
    golden: Execution
    scores: RuleScore | PictureScore
    judgement: Judgement | None
    target: np.ndarray | None
    textual: TextualScore | None = None
    visual: float | None = None


def format_part(case: Case) -> float:
    return float(case.response.well_formed)


def rule_part(case: Case) -> float:
    return case.scores.low_level


def model_part(case: Case) -> float | None:
    return case.judgement.score if case.judgement else None


def similarity_part(case: Case) -> float:
    """ValueError when the mixture was not given the target."""
    if isinstance(case.scores, PictureScore):
        return case.scores.low_level
    if case.target is None:
        raise ValueError('the similarity part needs the image of the chart; give the mixture the target')
    return similarity(case.target, case.execution.render)


def textual_part(case: Case) -> float | None:
    return case.textual.total if case.textual else None


def executed_part(case: Case) -> float:
    return float(case.scores.executed)


def visual_part(case: Case) -> float:
    """ValueError when the mixture was not given what its observer saw."""
    if case.visual is None:
        raise ValueError('the visual part needs what the observer saw; give the mixture the result of `look`')
    return case.visual


def language_part(case: Case) -> float:
    return float(case.response.closed)


def attributes_part(case: Case) -> float:
    return attributes(case.execution, case.golden)


PARTS: dict[str, Callable[[Case], float | None]] = {
    'format': format_part, 'rule': rule_part, 'model': model_part, 'similarity': similarity_part,
    'textual': textual_part, 'executed': executed_part, 'visual': visual_part, 'language': language_part, 'attributes': attributes_part,
}
