"""The synthetic chart world: an endless, deterministic supply of charts whose programs are known.

    world = ChartWorld('train', size=6000, difficulty=0)
    world.program(17)    # the same text on every machine
    world.think(17)      # one line that says what the chart shows

A chart is a function of (split, index, difficulty). The splits are disjoint as programs, across difficulties too: the hash
of a program decides the one split it may stand in, and a spec that falls into another split is drawn again.
Images come from executing the programs; nothing is drawn here.
"""
from dataclasses import dataclass, replace
import hashlib

import numpy as np

from recoder_jax.data.chart_world_program import write_program, write_think
from recoder_jax.data.chart_world_spec import ChartSpec, Panel, Series, SPLITS
from recoder_jax.data.chart_world_words import Dial, dial

PANEL_KINDS = ('bar', 'line', 'scatter', 'pie')
REFERENCE_KINDS = ('bar', 'grouped_bar', 'line', 'scatter')  # their values share one vertical axis
# Eight of ten programs may stand in the train split, one each in the others.
SPLIT_OF_BUCKET = ('train',) * 8 + ('validation', 'test')


@dataclass(frozen=True)
class ChartWorld:
    """`size` charts of one split ('train', 'validation', 'test') and one difficulty (0 to 3).

    Raises ValueError for an unknown split or difficulty and for a negative size; IndexError beyond the size.
    """
    split: str
    size: int
    difficulty: int

    def __post_init__(self):
        dial(self.difficulty)
        if self.split not in SPLITS:
            raise ValueError(f"split {self.split!r} does not exist: choose one of {', '.join(SPLITS)}.")
        if self.size < 0:
            raise ValueError(f'size {self.size} is negative: a chart world holds 0 or more charts.')

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> ChartSpec:
        return self.spec(index)

    def spec(self, index: int) -> ChartSpec:
        settings = dial(self.difficulty)
        rng = seeded('chart_world', self.split, self._checked(index), self.difficulty)
        while True:
            spec = draw_spec(settings, self.difficulty, rng)
            if split_of(write_program(spec)) == self.split:
                return spec

    def program(self, index: int) -> str:
        return write_program(self.spec(index))

    def think(self, index: int) -> str:
        return write_think(self.spec(index))

    def kind(self, index: int) -> str:
        return self.spec(index).kind

    def _checked(self, index: int) -> int:
        if not 0 <= index < self.size:
            raise IndexError(f'chart {index} does not exist: this world holds {self.size} charts, numbered from 0.')
        return int(index)


def split_of(program: str) -> str:
    """The split that a program belongs to, whatever drew it."""
    return SPLIT_OF_BUCKET[hashlib.blake2b(program.encode()).digest()[0] % len(SPLIT_OF_BUCKET)]


def seeded(*key: str | int) -> np.random.Generator:
    """A generator that depends on the key alone, the same on every machine."""
    digest = hashlib.blake2b(repr(key).encode(), digest_size=16).digest()
    return np.random.default_rng(int.from_bytes(digest, 'little'))


def draw_spec(settings: Dial, difficulty: int, rng: np.random.Generator) -> ChartSpec:
    """One chart of any split."""
    if rng.random() < settings.panels:
        rows, columns = (1, 2) if rng.random() < 0.5 else (2, 1)
        titles = distinct(rng, [title for title in settings.titles if len(title) < 8], 2)
        panels = tuple(draw_panel(settings, pick(rng, PANEL_KINDS), rng, title) for title in titles)
        return ChartSpec(panels, rows, columns, difficulty)
    kind = settings.kinds[int(rng.choice(len(settings.kinds), p=settings.weights))]
    panel = draw_panel(settings, kind, rng)
    if kind in REFERENCE_KINDS and rng.random() < settings.reference:
        values = [value for series in panel.series for value in series.values]
        panel = replace(panel, reference=int(rng.integers(int(min(values)), int(max(values)) + 1)))
    return ChartSpec((panel,), 1, 1, difficulty)


def draw_panel(settings: Dial, kind: str, rng: np.random.Generator, title: str | None = None) -> Panel:
    """One axes. A given title means a panel among others: small, so one series and no axis labels."""
    alone = title is None
    axes = draw_axes(settings, kind, rng) if alone else {'title': title}
    match kind:
        case 'bar' | 'barh':
            count = int(rng.integers(3, min(settings.points, 5) + 1 if alone else 4))
            # Bars coloured one by one belong to the upper half of the dial.
            many = settings.shuffled and alone and rng.random() < 0.15
            colors = draw_colors(settings, count if many else 1, rng)
            series = Series(draw_values(settings, count, rng), colors, hatch=styled(settings, settings.hatches, rng))
            return Panel(kind, (series,), categories=draw_categories(settings, count, alone, rng), **axes)
        case 'grouped_bar' | 'stacked_bar':
            series = draw_series(settings, int(rng.integers(2, settings.groups + 1)), int(rng.integers(3, 5)), rng)
            return Panel(kind, series, **axes)
        case 'line' | 'area':
            count = int(rng.integers(1, settings.lines + 1)) if alone else 1
            series = draw_series(settings, count, int(rng.integers(4, settings.points + 1)), rng, kind)
            return Panel(kind, series, **axes)
        case 'scatter':
            count = 2 if alone and rng.random() < 0.2 else 1
            series = draw_series(settings, count, int(rng.integers(4, settings.points + 1)), rng, kind)
            return Panel(kind, series, **axes)
        case 'pie':
            count = int(rng.integers(2, 5))
            colors = draw_colors(settings, count, rng)
            series = Series(draw_values(settings, count, rng), colors)
            return Panel(kind, (series,), categories=draw_categories(settings, count, alone, rng), **axes)
        case 'histogram':
            values = np.clip(np.round(rng.normal(5, 1.8, int(rng.integers(8, 5 + settings.points)))), 1, 9)
            series = Series(tuple(sorted(int(value) for value in values)), draw_colors(settings, 1, rng))
            return Panel(kind, (series,), bins=int(rng.integers(3, 6)), **axes)
        case 'box':
            color = draw_colors(settings, 1, rng)
            count = int(rng.integers(2, 4))
            series = tuple(Series(tuple(sorted(draw_values(settings, 5, rng))), color) for _ in range(count))
            return Panel(kind, series, **axes)
    side = int(rng.integers(3, settings.points - 1))  # heatmap
    rows = tuple(Series(draw_values(settings, side, rng)) for _ in range(side))
    return Panel(kind, rows, colormap=pick(rng, settings.colormaps), **axes)


def draw_axes(settings: Dial, kind: str, rng: np.random.Generator) -> dict:
    """The texts and lines that do not depend on the data of a chart: keyword arguments of Panel."""
    title = pick(rng, settings.titles)
    if rng.random() < settings.qualified:
        title = f'{pick(rng, settings.qualifiers)} {title}'
    if rng.random() < settings.unlabelled / 2:
        title = ''
    if kind == 'pie':
        return {'title': title or pick(rng, settings.titles)}
    x_label, y_label = pick(rng, settings.x_labels), pick(rng, settings.y_labels)
    if kind == 'barh':
        x_label, y_label = y_label, x_label
    return {
        'title': title,
        'x_label': '' if rng.random() < settings.unlabelled else x_label,
        'y_label': '' if rng.random() < settings.unlabelled else y_label,
        'grid': bool(kind != 'heatmap' and rng.random() < settings.grid),
    }


def draw_series(settings: Dial, count: int, points: int, rng: np.random.Generator, kind: str = '') -> tuple[Series, ...]:
    """`count` series of `points` values, told apart by colour and, most of the time, by a legend. kind '' means bars."""
    labels = distinct(rng, settings.series, count) if count > 1 and rng.random() < 0.8 else ('',) * count
    positions = ()
    if kind == 'area' or (kind == 'line' and rng.random() < settings.explicit_x):
        start = int(rng.integers(0, 6))
        positions = tuple(range(start, start + points))
    markers = {'line': settings.markers, 'scatter': settings.scatter_markers}.get(kind, ())
    series = []
    for label, color in zip(labels, draw_colors(settings, count, rng)):
        series.append(Series(
            draw_values(settings, points, rng),
            (color,),
            label=label,
            positions=tuple(sorted(draw_values(settings, points, rng))) if kind == 'scatter' else positions,
            marker=styled(settings, markers, rng),
            linestyle=styled(settings, settings.linestyles, rng) if kind == 'line' else '',
            hatch=styled(settings, settings.hatches, rng) if kind == '' else '',
        ))
    return tuple(series)


def draw_values(settings: Dial, count: int, rng: np.random.Generator) -> tuple[float, ...]:
    """Integers from 1 to the largest value of the dial, or tenths below 10."""
    if rng.random() < settings.decimals:
        return tuple(round(int(tenths) / 10, 1) for tenths in rng.integers(5, 100, count))
    return tuple(int(value) for value in rng.integers(1, settings.largest + 1, count))


def draw_colors(settings: Dial, count: int, rng: np.random.Generator) -> tuple[str, ...]:
    colors = list(distinct(rng, settings.colors, count))
    for index in range(count):
        if rng.random() < settings.hex:
            # Channels end at 0xcc so that a colour is visible on white.
            colors[index] = '#' + ''.join(f'{int(channel):02x}' for channel in rng.integers(0, 0xcc, 3))
    return tuple(colors)


def draw_categories(settings: Dial, count: int, alone: bool, rng: np.random.Generator) -> tuple[str, ...]:
    """Names short enough to stand side by side: `count` of them share the width of the axes."""
    longest = {2: 4, 3: 4, 4: 3}.get(count, 1) if alone else 1
    sets = [names for names in settings.categories if len(names) >= count and max(map(len, names)) <= longest]
    names = pick(rng, sets)
    start = int(rng.integers(0, len(names) - count + 1)) if settings.shuffled else 0
    return names[start:start + count]


def styled(settings: Dial, choices: tuple[str, ...], rng: np.random.Generator) -> str:
    """A style most series do without: '' for the default."""
    return pick(rng, choices) if choices and rng.random() < settings.styled else ''


def pick(rng: np.random.Generator, choices):
    return choices[int(rng.integers(len(choices)))]


def distinct(rng: np.random.Generator, choices, count: int) -> tuple:
    return tuple(choices[int(index)] for index in rng.permutation(len(choices))[:count])
