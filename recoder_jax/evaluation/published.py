"""Numbers that papers print, for the rows beside ours. Only cells that were read in a source stand here; nothing here was measured by us."""

from dataclasses import dataclass

MM_RECODER = 'published, arXiv 2604.01600'
UNSTATED = f'{MM_RECODER}; filter not stated'


@dataclass(frozen=True)
class PublishedRow:
    """One row of a paper's main table, in points; None where it prints nothing. low_level: ChartMimic's; the source says which filter, where it is known."""

    model: str
    turns: int
    source: str
    executed: float | None = None
    low_level: float | None = None
    high_level: float | None = None
    text_match: float | None = None


@dataclass(frozen=True)
class PublishedCorrection:
    """One row of MM-ReCoder's comparison of strategies, in points."""

    model: str
    source: str
    first: float | None
    last: float | None
    average_improvement: float | None
    improve_rate: float | None
    repeat_rate: float | None


ROWS = (
    PublishedRow('ChartCoder', 1, f'{MM_RECODER}; no_filter', low_level=77.4, high_level=74.0, text_match=54.5),
    PublishedRow('ChartCoder', 1, 'published, its README; code_pass', low_level=72.5),
    PublishedRow('Qwen2.5-VL-7B', 1, UNSTATED, low_level=56.2, high_level=49.6, text_match=47.8),
    PublishedRow('Qwen3-VL-235B', 1, UNSTATED, low_level=80.9, high_level=85.9, text_match=60.9),
    PublishedRow('GPT-4o', 1, UNSTATED, low_level=81.8, high_level=83.7, text_match=59.8),
    PublishedRow('MSRL', 1, 'published, arXiv 2508.13587; filter not stated', executed=96.5, low_level=78.6, high_level=83.8),
    PublishedRow('MM-ReCoder', 1, UNSTATED, low_level=83.5, high_level=81.2, text_match=63.2),
    PublishedRow('MM-ReCoder', 4, UNSTATED, low_level=86.5, high_level=84.9, text_match=62.7),
)

CORRECTIONS = (
    PublishedCorrection('Qwen2.5-VL-7B', MM_RECODER, 56.2, None, -0.36, None, 10.9),
    PublishedCorrection('single-turn cold start', MM_RECODER, 79.1, None, -0.10, None, 81.5),
    PublishedCorrection('multi-turn cold start', MM_RECODER, 75.2, None, -0.54, None, 2.3),
    PublishedCorrection('full-trajectory', MM_RECODER, 81.8, 83.9, 0.21, 3.4, 46.9),
    PublishedCorrection('full-trajectory, eta 0.1', MM_RECODER, 66.7, 84.3, 10.11, 87.5, 0.3),
    PublishedCorrection('shared-first, then full', MM_RECODER, 83.7, 86.0, 0.55, 12.1, 21.6),
)
