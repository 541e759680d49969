"""What stands where rule scores do, in a language whose executions have no elements: how alike render and target look."""

from dataclasses import dataclass

import numpy as np

from recoder_jax.charts.execution import Execution
from recoder_jax.rewards.similarity import similarity


@dataclass(frozen=True)
class PictureScore:
    """executed: whether the program gave a figure. low_level: image similarity (similarity.py) in [0, 1], 0 without a render."""

    executed: bool
    low_level: float

    def measures(self) -> dict[str, float]:
        """The score by its name; there are no text, layout, chart type and colour."""
        return {'low_level': self.low_level}


def picture_score(execution: Execution, target: np.ndarray | None) -> PictureScore:
    """Score of an execution against the image of the chart, uint8 [H, W, 3]. ValueError without that image."""
    if target is None:
        raise ValueError('programs without elements are compared with the image of the chart; give the mixture the target')
    return PictureScore(execution.ok, similarity(target, execution.render))
