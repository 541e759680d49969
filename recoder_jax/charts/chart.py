"""A chart: an image and the program that drew it."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Chart:
    """Image and golden program.

    Attributes:
        id: unique over data sets, for example `chart_world/train/17`.
        image: uint8 [H, W, 3].
        program: golden program; '' when unknown.
        kind: 'bar', 'line', ...; groups the rows of breakdowns; '' when unknown.
    """

    id: str
    image: np.ndarray
    program: str
    kind: str = ''
