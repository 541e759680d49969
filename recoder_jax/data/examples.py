"""The supervised example: a chart and the dialogue that a policy is taught to hold over it."""
from dataclasses import dataclass

import numpy as np

from recoder_jax.charts.chart import Chart


@dataclass(frozen=True)
class Example:
    """One dialogue over one chart.

    responses: response texts, one a turn, first turn first.
    trained: which turns carry loss; same length as responses, at least one True.
    feedbacks: (render, log) after each turn but the last. render: uint8 [H, W, 3], or None where the program failed; then
        log holds the end of its error.
    language: of the programs (languages/language.py).
    Raises ValueError where the lengths disagree or no turn is trained.
    """
    chart: Chart
    responses: tuple[str, ...]
    trained: tuple[bool, ...]
    feedbacks: tuple[tuple[np.ndarray | None, str], ...] = ()
    language: str = 'python'

    def __post_init__(self):
        turns = len(self.responses)
        if len(self.trained) != turns or len(self.feedbacks) != max(turns - 1, 0):
            raise ValueError(
                f'example of chart {self.chart.id!r} has {turns} responses, {len(self.trained)} trained flags and '
                f'{len(self.feedbacks)} feedbacks: give one flag a response and one feedback between responses.')
        if not any(self.trained):
            raise ValueError(f'example of chart {self.chart.id!r} trains no turn: mark at least one response as trained.')
