"""Whether charts of one set stand in another one: by their programs, by their pixels, and by pictures that look alike.

Programs are compared after normalisation (`charts.scores.program_key`). Pictures are compared by 256 bits: the signs of horizontal
differences of a grey picture of 16 x 17 cells (the difference hash of Krawetz 2013). Charts of one style look alike at that size, so
pairs that only look alike are for a person to see, not a verdict.
"""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image
from tqdm import tqdm

from recoder_jax.charts.chart import Chart
from recoder_jax.charts.scores import program_key

SIDE = 16
NEAR = 8  # of 256 bits: pictures with at most so many different bits look alike
_ROWS = 512  # of the first set that are compared at a time


@dataclass(frozen=True)
class Pair:
    """A chart of the first set and one of the second. same: 'program', 'picture' (equal pixels) or 'looks'. bits: that differ between the pictures."""

    first: str
    second: str
    same: str
    bits: int


@dataclass(frozen=True)
class _Prints:
    ids: list[str]
    programs: list[str]
    pictures: list[str]
    bits: np.ndarray  # uint64 [N, 4]


def find_leaks(first: Sequence[Chart], second: Sequence[Chart], near: int = NEAR) -> list[Pair]:
    """Pairs that share a program or a picture, each pair once, the strongest reason first. near: bits, 0 to 256."""
    if not 0 <= near <= SIDE**2:
        raise ValueError(f'--near is {near}; give a number of bits from 0 to {SIDE**2}')
    a, b = _prints(first, 'first'), _prints(second, 'second')
    found: dict[tuple[int, int], str] = {}
    for reason, left, right in (('program', a.programs, b.programs), ('picture', a.pictures, b.pictures)):
        for pair in _equal(left, right):
            found.setdefault(pair, reason)
    for pair in _near(a.bits, b.bits, near):
        found.setdefault(pair, 'looks')
    pairs = [Pair(a.ids[i], b.ids[j], reason, int(_distance(a.bits[i], b.bits[j]))) for (i, j), reason in found.items()]
    return sorted(pairs, key=lambda pair: (('program', 'picture', 'looks').index(pair.same), pair.bits, pair.first, pair.second))


def picture_bits(image: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 3] -> uint64 [4]: the difference hash."""
    grey = np.asarray(Image.fromarray(image).convert('L').resize((SIDE + 1, SIDE), Image.Resampling.BOX), np.int16)
    return np.packbits(grey[:, 1:] > grey[:, :-1]).view(np.uint64)


def _prints(charts: Sequence[Chart], what: str) -> _Prints:
    ids, programs, pictures, bits = [], [], [], []
    for index in tqdm(range(len(charts)), f'{what} set', unit='chart', mininterval=1):
        chart = charts[index]
        ids.append(chart.id)
        programs.append(program_key(chart.program) if chart.program.strip() else '')
        pictures.append(hashlib.sha256(repr(chart.image.shape).encode() + chart.image.tobytes()).hexdigest())
        bits.append(picture_bits(chart.image))
    return _Prints(ids, programs, pictures, np.array(bits))


def _equal(left: Sequence[str], right: Sequence[str]):
    places = defaultdict(list)
    for index, key in enumerate(right):
        places[key].append(index)
    return [(index, other) for index, key in enumerate(left) if key for other in places.get(key, ())]


def _near(left: np.ndarray, right: np.ndarray, near: int) -> list[tuple[int, int]]:
    found = []
    for start in range(0, len(left), _ROWS):
        distances = _distance(left[start : start + _ROWS, None], right[None])
        found += [(start + int(i), int(j)) for i, j in zip(*np.nonzero(distances <= near))]
    return found


def _distance(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    return np.bitwise_count(left ^ right).sum(axis=-1)
