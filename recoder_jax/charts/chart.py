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
        instruction: what is asked for, with `reference` as the model of its style; '' asks to draw `image`.
        reference: uint8 [H', W', 3] that is shown in place of `image`, which stays hidden; None where `image` is shown.
        title, csv: its title and the data it shows, as its data set gives them beside the program; '' when it does not.
    """

    id: str
    image: np.ndarray
    program: str
    kind: str = ''
    instruction: str = ''
    reference: np.ndarray | None = None
    title: str = ''
    csv: str = ''

    @property
    def shown(self) -> np.ndarray:
        """The image that a dialogue over the chart opens with."""
        return self.image if self.reference is None else self.reference
