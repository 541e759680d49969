"""How much two texts, or two series of numbers, have in common; for many pairs at once, in bounded time."""

from collections.abc import Sequence

import numpy as np

MAX_TEXTS = 32             # texts a side
MAX_CHARACTERS = 80        # of a text; what follows is not compared
_FLOOR = 1e-6              # of the largest value of a series: what is smaller is zero


def text_similarity(left: Sequence[str], right: Sequence[str]) -> np.ndarray:
    """1 - Levenshtein distance / length of the longer text, float [N, M] in [0, 1]; ValueError over MAX_TEXTS a side."""
    if max(len(left), len(right)) > MAX_TEXTS:
        raise ValueError(f'{max(len(left), len(right))} texts are compared; give at most {MAX_TEXTS} a side')
    if not left or not right:
        return np.zeros((len(left), len(right)))
    a, a_sizes = _codes(left, -1)
    b, b_sizes = _codes(right, -2)
    longer = np.maximum(a_sizes[:, None], b_sizes[None])
    return 1 - _distances(a, a_sizes, b, b_sizes) / np.maximum(longer, 1)


def _codes(texts: Sequence[str], padding: int) -> tuple[np.ndarray, np.ndarray]:
    """Code points int32 [N, L], padded, and lengths [N]."""
    cut = [text[:MAX_CHARACTERS] for text in texts]
    sizes = np.array([len(text) for text in cut])
    codes = np.full((len(cut), max(sizes.max(), 1)), padding, np.int32)
    for row, text in zip(codes, cut, strict=True):
        row[:len(text)] = list(map(ord, text))
    return codes, sizes


def _distances(a: np.ndarray, a_sizes: np.ndarray, b: np.ndarray, b_sizes: np.ndarray) -> np.ndarray:
    """Levenshtein's table for all pairs, int [N, M]; row i holds the distances of the first i characters of a to every start of b.

    Within a row, d[j] = min over k <= j of (candidate[k] + j - k): a running minimum of candidate[k] - k.
    """
    steps = np.arange(b.shape[1] + 1, dtype=np.int16)
    row = np.tile(steps, (len(a), len(b), 1))
    result = np.empty(row.shape[:2], int)
    places = np.arange(len(b)), b_sizes
    result[a_sizes == 0] = row[a_sizes == 0][:, *places]
    for i in range(a.shape[1]):
        candidate = np.empty_like(row)
        candidate[..., 0] = i + 1
        np.minimum(row[..., :-1] + (b[None] != a[:, None, i, None]), row[..., 1:] + 1, out=candidate[..., 1:])
        row = np.minimum.accumulate(candidate - steps, axis=2) + steps
        result[a_sizes == i + 1] = row[a_sizes == i + 1][:, *places]
    return result


def common_in_order(left: Sequence[Sequence[float]], right: Sequence[Sequence[float]], tolerance: float) -> np.ndarray:
    """Length of the longest common subsequence of each pair of series, int [N, M], values equal within the relative tolerance."""
    if not left or not right:
        return np.zeros((len(left), len(right)), int)
    size = max(map(len, right))
    b = np.array([[*series, *[np.nan] * (size - len(series))] for series in right]).reshape(len(right), size)
    return np.stack([_longest(np.array(series, float), b, tolerance) for series in left])


def _longest(a: np.ndarray, b: np.ndarray, tolerance: float) -> np.ndarray:
    """The same of one series [L] with many [M, K], which are padded with NaN."""
    floor = _FLOOR * np.fmin(np.abs(a).max(initial=0), np.nanmax(np.abs(b), axis=1, initial=0))[:, None]
    best = np.zeros((len(b), b.shape[1] + 1), int)      # of the values of a so far and the first j values of b
    for value in a:
        close = _close(value, b, tolerance, floor)
        best[:, 1:] = np.maximum.accumulate(np.maximum(best[:, 1:], best[:, :-1] + close), axis=1)
    return best[:, -1]


def _close(a, b, tolerance: float, floor):
    """Whether values differ by at most the tolerance of the larger one, or by less than counts; never for NaN."""
    return np.abs(a - b) <= np.maximum(tolerance * np.maximum(np.abs(a), np.abs(b)), floor)


def common_in_any_order(left: Sequence[Sequence[float]], right: Sequence[Sequence[float]], tolerance: float) -> np.ndarray:
    """The greatest number of pairs of values within the relative tolerance, each used once, for each pair of series, int [N, M]."""
    ours, theirs = ([sorted(series) for series in side] for side in (left, right))
    return np.array([[_pairs(a, b, tolerance) for b in theirs] for a in ours], int).reshape(len(left), len(right))


def _pairs(a: list[float], b: list[float], tolerance: float) -> int:
    """The same of two sorted series. What is close to a value is an interval that moves up with it, so pairing upwards is best."""
    floor = _FLOOR * min(max(map(abs, a), default=0), max(map(abs, b), default=0))
    i = j = found = 0
    while i < len(a) and j < len(b):
        if abs(a[i] - b[j]) <= max(tolerance * max(abs(a[i]), abs(b[j])), floor):
            i, j, found = i + 1, j + 1, found + 1
        elif a[i] < b[j]:
            i += 1
        else:
            j += 1
    return found
