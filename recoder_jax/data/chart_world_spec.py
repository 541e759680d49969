"""What a chart of the synthetic chart world is, before it becomes a program.

A `ChartSpec` holds every choice of one chart (kind, data, words, colours, style). `chart_world.py` draws specs,
`chart_world_program.py` writes their programs, `corrections.py` edits them.
"""
from dataclasses import dataclass

KINDS = ('bar', 'barh', 'grouped_bar', 'stacked_bar', 'line', 'area', 'scatter', 'pie', 'histogram', 'box', 'heatmap')
PANELS = 'panels'  # the kind of a chart of two panels
SPLITS = ('train', 'validation', 'test')


@dataclass(frozen=True)
class Series:
    """The data of one plot call, or one box of a box plot, or one row of a heatmap.

    values: heights, y values, shares or samples.
    positions: x values of a line, area or scatter; () lets matplotlib count from 0.
    colors: one name for the whole series, or one per value (pie; bars coloured one by one). () for heatmap rows.
    label: legend entry, '' for none. marker, linestyle, hatch: matplotlib's names, '' for the default.
    """
    values: tuple[float, ...]
    colors: tuple[str, ...] = ()
    positions: tuple[float, ...] = ()
    label: str = ''
    marker: str = ''
    linestyle: str = ''
    hatch: str = ''


@dataclass(frozen=True)
class Panel:
    """One axes of a chart. `kind` is one of KINDS; '' for a text means that it is not drawn.

    categories: tick labels of bars, labels of pie slices. reference: height of a dashed horizontal line.
    """
    kind: str
    series: tuple[Series, ...]
    title: str = ''
    x_label: str = ''
    y_label: str = ''
    categories: tuple[str, ...] = ()
    colormap: str = ''
    bins: int = 0
    grid: bool = False
    reference: float | None = None

    @property
    def colors(self) -> tuple[str, ...]:
        """Colours in order of first use; the colour map for a heatmap."""
        if self.colormap:
            return (self.colormap,)
        return tuple(dict.fromkeys(color for series in self.series for color in series.colors))

    @property
    def legend(self) -> bool:
        return any(series.label for series in self.series)


@dataclass(frozen=True)
class ChartSpec:
    """One chart: one panel, or two of them in `rows` x `columns`. `difficulty` (0 to 3) says which words it draws from."""
    panels: tuple[Panel, ...]
    rows: int
    columns: int
    difficulty: int

    @property
    def kind(self) -> str:
        return PANELS if len(self.panels) > 1 else self.panels[0].kind
