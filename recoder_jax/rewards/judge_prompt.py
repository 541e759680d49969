"""What a judge is asked and how its reply is read. The points are ChartMimic's (arXiv 2406.09961); every sentence is ours."""

import io
import json
import math
import re
from dataclasses import dataclass

import numpy as np
from PIL import Image

from recoder_jax.rewards.images import bounded

LEAST_SIDE = 28       # Qwen2.5-VL refuses images with a side below a patch of 28 pixels,
MOST_ASPECT = 100     # and refuses those more than 200 times as long as wide
AGAIN_TEMPERATURE = 0.3   # of a question that is asked again after an unusable reply: greedy, the same would come again


@dataclass(frozen=True)
class Item:
    """One aspect the judge gives points for."""

    name: str
    points: int
    question: str


ITEMS = (
    Item('chart_type', 20, 'Are the same types of chart drawn, in the same combination?'),
    Item('layout', 10, 'Are the panels the same in number and arrangement?'),
    Item('text', 20, 'Do titles, axis labels, legend entries and annotations read the same? Leave tick labels out.'),
    Item('data', 20, 'Do the values follow the same trends, with the same number of groups?'),
    Item('style', 20, 'Do colours, markers, line styles, legend placement and grid agree?'),
    Item('clarity', 10, 'Is the second image clean, without overlapping or cut-off elements?'),
)
TOTAL = sum(item.points for item in ITEMS)

TEXT = '\n'.join([
    'The first image is a reference chart. The second image was drawn by a program that tries to reproduce it.',
    'Give points for how well the second agrees with the first; full points only where you see no difference:',
    *(f'- "{item.name}", 0 to {item.points}: {item.question}' for item in ITEMS),
    'Answer with one JSON object that has exactly these six keys and numbers as values, and nothing else, for example:',
    json.dumps({item.name: item.points // 2 for item in ITEMS})])

# Structured output, for servers that have it.
REPLY_FORMAT = {'type': 'json_schema', 'json_schema': {'name': 'points', 'strict': True, 'schema': {
    'type': 'object', 'additionalProperties': False, 'required': [item.name for item in ITEMS],
    'properties': {item.name: {'type': 'number', 'minimum': 0, 'maximum': item.points} for item in ITEMS}}}}


def presentable(image: np.ndarray, max_pixels: int) -> np.ndarray:
    """An image as the judge gets it: of at most `max_pixels` pixels and MOST_ASPECT, its sides at least LEAST_SIDE.

    The large is scaled down, the small and the narrow are filled up with white.
    """
    image = bounded(image, max_pixels, max_side=max(LEAST_SIDE, math.isqrt(MOST_ASPECT * max_pixels)))
    height, width = image.shape[:2]
    least = max(LEAST_SIDE, math.ceil(max(height, width) / MOST_ASPECT))
    missing = max(0, least - height), max(0, least - width)
    return np.pad(image, ((0, missing[0]), (0, missing[1]), (0, 0)), constant_values=255) if any(missing) else image


def encoded(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(buffer, format='PNG', compress_level=1)
    return buffer.getvalue()


def parse_reply(reply: str) -> dict[str, float] | None:
    """Points per item, or None when the reply does not hold all six within their limits.

    First the whole reply as JSON; then the last JSON object inside it, with points as numbers or as text like '18/20'
    and keys in any case, with spaces or dashes. Points outside their limits are never clamped.
    """
    try:
        points = points_of(json.loads(reply))
    except (ValueError, RecursionError):
        points = None
    if points is not None:
        return points
    for candidate in reversed(re.findall(r'\{[^{}]*\}', reply)):
        try:
            points = points_of(json.loads(candidate), lenient=True)
        except (ValueError, RecursionError):
            continue
        if points is not None:
            return points
    return None


def points_of(value, lenient: bool = False) -> dict[str, float] | None:
    """Points per item of a JSON value; None unless it holds all six, and nothing else where it is read strictly."""
    if not isinstance(value, dict):
        return None
    if lenient:
        value = {re.sub(r'[\s-]+', '_', key.strip().lower()): entry for key, entry in value.items()}
    elif value.keys() != {item.name for item in ITEMS}:
        return None
    points = {item.name: _number(value.get(item.name), item.points, lenient) for item in ITEMS}
    return None if None in points.values() else points


def _number(value, limit: int, lenient: bool) -> float | None:
    if lenient and isinstance(value, str):
        match = re.fullmatch(r'\s*(\d+(?:\.\d+)?)\s*(?:/\s*(\d+))?\s*', value)
        if not match or match[2] not in (None, str(limit)):
            return None
        value = float(match[1])
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if 0 <= value <= limit else None
