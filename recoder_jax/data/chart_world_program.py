"""Writes the matplotlib program of a spec, and the one line that says what its chart shows.

Every figure is 2.24 x 2.24 inches: 224 x 224 pixels at 100 dpi, a whole number of 14-pixel patches and of 28-pixel merged
patches, so the image processor does not resample it. Margins are fixed numbers because tight and constrained layout
double the time of a draw.
"""
from typing import Iterable

from recoder_jax.data.chart_world_spec import ChartSpec, Panel, Series

SIZE = 'figsize=(2.24, 2.24)'
KIND_NAMES = {
    'bar': 'Bar chart', 'barh': 'Horizontal bar chart', 'grouped_bar': 'Grouped bar chart',
    'stacked_bar': 'Stacked bar chart', 'line': 'Line chart', 'area': 'Area chart', 'scatter': 'Scatter plot',
    'pie': 'Pie chart', 'histogram': 'Histogram', 'box': 'Box plot', 'heatmap': 'Heatmap',
}


def write_program(spec: ChartSpec) -> str:
    """The program of a spec: one import block, one figure, one plot call per series, one file saved. Ends with a newline."""
    lines = ['import matplotlib.pyplot as plt']
    if any(panel.kind in ('grouped_bar', 'stacked_bar') for panel in spec.panels):
        lines.append('import numpy as np')
    names = axes_names(spec)
    if len(names) == 1:
        lines.append(f'fig, ax = plt.subplots({SIZE})')
        if spec.panels[0].kind != 'pie':
            # The tick labels of horizontal bars are words.
            left = 0.32 if spec.panels[0].kind == 'barh' else 0.27
            lines.append(f'fig.subplots_adjust(left={left}, bottom=0.2, right=0.95)')
    else:
        lines.append("plt.rcParams['font.size'] = 8")
        lines.append(f"fig, ({', '.join(names)}) = plt.subplots({spec.rows}, {spec.columns}, {SIZE})")
        lines.append('fig.subplots_adjust(hspace=0.8)' if spec.rows > 1 else 'fig.subplots_adjust(wspace=0.4)')
    for name, panel in zip(names, spec.panels):
        lines.extend(panel_lines(name, panel))
    lines.append("plt.savefig('chart.png')")
    return '\n'.join(lines) + '\n'


def write_think(spec: ChartSpec) -> str:
    """One line that says what the chart shows: kinds, title, colours. The words are quoted as in the program."""
    kinds = [KIND_NAMES[panel.kind] for panel in spec.panels]
    if len(kinds) > 1:
        where = 'one above the other' if spec.rows > 1 else 'side by side'
        return f'Two panels {where}. {kinds[0]}. {kinds[1]}.'
    panel = spec.panels[0]
    title = f" '{panel.title}'" if panel.title else ''
    if panel.kind == 'pie' or len(panel.colors) > 3:
        return f'{kinds[0]}{title} in {len(panel.colors)} colors.'
    return f"{kinds[0]}{title} in {' and '.join(quoted(panel.colors))}."


def axes_names(spec: ChartSpec) -> tuple[str, ...]:
    """The variable of each panel's axes."""
    if len(spec.panels) == 1:
        return ('ax',)
    return ('top', 'bottom') if spec.rows > 1 else ('left', 'right')


def panel_lines(ax: str, panel: Panel) -> list[str]:
    """The plot calls of a panel, then its texts, legend and grid."""
    lines = plot_lines(ax, panel)
    if panel.reference is not None:
        lines.append(f"{ax}.axhline({number(panel.reference)}, color='black', linestyle='--')")
    texts = {'title': panel.title, 'xlabel': panel.x_label, 'ylabel': panel.y_label}
    texts = [f"{name}='{text}'" for name, text in texts.items() if text]
    if texts:
        lines.append(f"{ax}.set({', '.join(texts)})")
    if panel.legend:
        lines.append(f'{ax}.legend(fontsize=8)')
    if panel.grid:
        lines.append(f'{ax}.grid()')
    return lines


def plot_lines(ax: str, panel: Panel) -> list[str]:
    first = panel.series[0]
    categories = listed(quoted(panel.categories))
    match panel.kind:
        case 'bar' | 'barh':
            return [f'{ax}.{panel.kind}({categories}, {numbers(first.values)}, {looks(first)})']
        case 'grouped_bar' | 'stacked_bar':
            return grouped_lines(ax, panel)
        case 'line':
            return [f'{ax}.plot({points(series)}, {looks(series)})' for series in panel.series]
        case 'area':
            return [f'{ax}.fill_between({points(series)}, {looks(series)}, alpha=0.5)' for series in panel.series]
        case 'scatter':
            return [f'{ax}.scatter({points(series)}, {looks(series)})' for series in panel.series]
        case 'pie':
            return [f'{ax}.pie({numbers(first.values)}, labels={categories}, colors={listed(quoted(first.colors))})']
        case 'histogram':
            return [f'{ax}.hist({numbers(first.values)}, bins={panel.bins}, {looks(first)})']
        case 'box':
            samples = listed(numbers(series.values) for series in panel.series)
            return [f"{ax}.boxplot({samples}, patch_artist=True, boxprops={{'facecolor': '{first.colors[0]}'}})"]
        case 'heatmap':
            rows = listed(numbers(series.values) for series in panel.series)
            return [f"{ax}.imshow({rows}, cmap='{panel.colormap}')"]
    raise ValueError(f'chart kind {panel.kind!r} does not exist: choose one of {sorted(KIND_NAMES)}.')


def grouped_lines(ax: str, panel: Panel) -> list[str]:
    """Bars of several series side by side, or on top of each other."""
    count = len(panel.series)
    lines = [f'x = np.arange({len(panel.series[0].values)})']
    below = (0,) * len(panel.series[0].values)
    for index, series in enumerate(panel.series):
        if panel.kind == 'stacked_bar':
            bottom = f', bottom={numbers(below)}' if index else ''
            lines.append(f'{ax}.bar(x, {numbers(series.values)}{bottom}, {looks(series)})')
            below = tuple(round(low + value, 1) for low, value in zip(below, series.values))
        else:
            width = {1: 0.6, 2: 0.4, 3: 0.3}[count]
            shift = round((index - (count - 1) / 2) * width, 2)
            at = 'x' if shift == 0 else f"x {'-' if shift < 0 else '+'} {number(abs(shift))}"
            lines.append(f'{ax}.bar({at}, {numbers(series.values)}, width={width}, {looks(series)})')
    return lines


def points(series: Series) -> str:
    """'x values, y values', or the y values alone where matplotlib counts x itself."""
    return f'{numbers(series.positions)}, {numbers(series.values)}' if series.positions else numbers(series.values)


def looks(series: Series) -> str:
    """The keyword arguments of a series: colour, style, label."""
    color = f"'{series.colors[0]}'" if len(series.colors) == 1 else listed(quoted(series.colors))
    arguments = [f'color={color}']
    styles = {'marker': series.marker, 'linestyle': series.linestyle, 'hatch': series.hatch, 'label': series.label}
    arguments.extend(f"{name}='{value}'" for name, value in styles.items() if value)
    return ', '.join(arguments)


def number(value: float) -> str:
    return f'{value:g}'


def numbers(values: Iterable[float]) -> str:
    return listed(number(value) for value in values)


def quoted(words: Iterable[str]) -> list[str]:
    return [f"'{word}'" for word in words]


def listed(items: Iterable[str]) -> str:
    return f"[{', '.join(items)}]"
