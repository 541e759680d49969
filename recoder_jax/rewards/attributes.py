"""ChartMaster's attribute similarity (arXiv 2508.17608): the mean of the Jaccard indices of layout, colours, texts and values.

    J = shared / (generated + golden - shared)        in [0, 1], of multisets, of the set of colours; 1 where both are empty

Everything is taken from what the programs drew (`charts/elements`, replayed). Values are compared series by series as the textual
reward does, in their order and within 5 %, and J follows from its F: J = F / (2 - F). Where no golden value was drawn, values are
left out. The paper prints the four attributes and the index; the pairing of values and equal weights are ours.
"""

from collections import Counter
from collections.abc import Iterable

from recoder_jax.charts.execution import Execution
from recoder_jax.rewards.textual import data_f1, data_of


def attributes(generated: Execution, golden: Execution) -> float:
    """In [0, 1]; 0 where the generated program gave no figure. ValueError where the golden one gave none."""
    if golden.elements is None:
        raise ValueError('the golden program gave no figure; give one that runs')
    if generated.elements is None:
        return 0.0
    a, b = generated.elements, golden.elements
    found = [jaccard(a.layout, b.layout), jaccard(*({color for _, color in one.colors} for one in (a, b))), jaccard(a.texts, b.texts)]
    values = data_f1(data_of(a, ''), data_of(b, ''), golden_elements=b)
    if values is not None:
        found.append(values / (2 - values))
    return sum(found) / len(found)


def jaccard(a: Iterable, b: Iterable) -> float:
    """Of two multisets."""
    ours, theirs = Counter(a), Counter(b)
    union = (ours | theirs).total()
    return (ours & theirs).total() / union if union else 1.0
