"""The chart world drawn as SVG documents: the charts of `chart_world`, split by split the same, of difficulty 0.

    world = SvgWorld('train', size=2500, difficulty=0)
    world.program(17)         # the document of chart 17
    svg_correction(world, 17) # a flawed one and what is wrong with it
"""
import re
from dataclasses import dataclass

import numpy as np

from recoder_jax.data.chart_world import ChartWorld, pick, seeded
from recoder_jax.data.corrections import Correction, Crash, make_correction
from recoder_jax.data.svg_program import write_svg


@dataclass(frozen=True)
class SvgWorld(ChartWorld):
    """A chart world whose programs are SVG documents. ValueError for another difficulty than 0 also."""

    def __post_init__(self):
        super().__post_init__()
        if self.difficulty:
            raise ValueError(f'difficulty {self.difficulty} has no SVG form: choose 0.')

    def program(self, index: int) -> str:
        return write_svg(self.spec(index))


def svg_correction(world: ChartWorld, index: int) -> Correction:
    """The correction of one chart of the world, the same on every machine. `error` is 'XML' for a document that cannot be read, and 'size'."""
    return make_correction(world.spec(index), seeded('svg_correction', world.split, index, world.difficulty), write_svg, CRASHES)


# Textual edits after which nothing is drawn.


def misspell_end(document: str, rng: np.random.Generator) -> str | None:
    return replaced(document, pick(rng, ('</text>', '</g>')), pick(rng, ('</txt>', '</group>')), rng)


def drop_end(document: str, rng: np.random.Generator) -> str | None:
    return replaced(document, '</g>\n', '', rng)


def drop_slash(document: str, rng: np.random.Generator) -> str | None:
    return replaced(document, '/>', '>', rng)


def drop_quote(document: str, rng: np.random.Generator) -> str | None:
    return replaced(document, "='", '=', rng)


def drop_size(document: str, rng: np.random.Generator) -> str | None:
    return re.sub(r" width='224' height='224' viewBox='[^']*'", '', document, count=1)


def replaced(document: str, old: str, new: str, rng: np.random.Generator) -> str | None:
    """One of the places of `old` becomes `new`."""
    places = [found.start() for found in re.finditer(re.escape(old), document)]
    if not places:
        return None
    place = pick(rng, places)
    return document[:place] + new + document[place + len(old):]


CRASHES = (
    Crash('misspelled end tag', 'An end tag is misspelled.', 'XML', misspell_end),
    Crash('missing end tag', 'An end tag is missing.', 'XML', drop_end),
    Crash('missing slash', 'A slash is missing.', 'XML', drop_slash),
    Crash('missing quote', 'A quote is missing.', 'XML', drop_quote),
    Crash('missing size', 'The size is missing.', 'size', drop_size),
)
