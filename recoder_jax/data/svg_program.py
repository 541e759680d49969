"""Writes a spec of the chart world as an SVG document: difficulty 0, whose values are digits from 1 to 9.

One unit is 16 pixels of 224. A plot lies in x and y from 0 to 9 with y upwards, so data values stand in the document as they are: bars are strokes
from 0 to their value, slices are dashes of a circle as long as the sum of its values.
"""
import math
from collections import Counter

from recoder_jax.data.chart_world_program import number
from recoder_jax.data.chart_world_spec import ChartSpec, Panel, Series

HEAD = "<svg xmlns='http://www.w3.org/2000/svg' width='224' height='224' viewBox='-3 -11 14 14' font-size='.9'>"
FRAME = "<path d='M0 9.5V0H9.5'/>"
GRID = "<path d='M0 3h9M0 6h9M0 9h9M3 0v9M6 0v9M9 0v9' stroke='silver'/>"
BARS, CELLS = "stroke-width='.8'", "stroke-width='2'"
DOTS = "stroke-width='.6' stroke-linecap='round'"
SHIFTS = ('0', '.8', '1.6')  # of grouped bars, as wide as one
DASHES = "stroke-dasharray='.5'"
COLORS_OF_MAPS = {'Blues': 'blue', 'Greens': 'green', 'Reds': 'red', 'viridis': 'purple'}
PLACES = {(1, 2): ('translate(-2.5-2)scale(.5)', 'translate(4.5-2)scale(.5)'), (2, 1): ('translate(1-5)scale(.5)', 'translate(1 1.5)scale(.5)')}


def write_svg(spec: ChartSpec) -> str:
    """The document of a spec, ending with a newline. ValueError for a spec of a higher difficulty."""
    if spec.difficulty:
        raise ValueError(f'a chart of difficulty {spec.difficulty} has no SVG form; give one of difficulty 0')
    lines = [HEAD]
    if len(spec.panels) == 1:
        lines += panel_lines(spec.panels[0])
    else:
        for place, panel in zip(PLACES[spec.rows, spec.columns], spec.panels):
            lines += [f"<g transform='{place}'>", *panel_lines(panel), '</g>']
    return '\n'.join([*lines, '</svg>']) + '\n'


def panel_lines(panel: Panel) -> list[str]:
    """Texts, then the plot with its axes in a group that points upwards."""
    lines = [f"<text x='3' y='-10'>{panel.title}</text>"] if panel.title else []
    if panel.x_label:
        lines.append(f"<text x='3' y='2.5'>{panel.x_label}</text>")
    if panel.y_label:
        lines.append(f"<text x='3' y='-2' transform='rotate(-90)'>{panel.y_label}</text>")
    for index, series in enumerate(panel.series):
        if series.label:
            lines.append(f"<text x='7' y='{index - 9}' fill='{series.colors[0]}'>{series.label}</text>")
    lines += category_lines(panel)
    frame = [] if panel.kind == 'pie' else [FRAME]
    plot = [GRID] if panel.grid else []
    return [*lines, "<g transform='scale(1-1)' fill='none' stroke='black' stroke-width='.1'>", *frame, *plot, *plot_lines(panel), '</g>']


def category_lines(panel: Panel) -> list[str]:
    """Names beside bars and slices."""
    found = []
    for index, name in enumerate(panel.categories, 1):
        if panel.kind == 'pie':
            found.append(f"<text x='9' y='{index - 9}' fill='{panel.series[0].colors[index - 1]}'>{name}</text>")
        else:
            place = f"x='-.2' y='-{2 * index - 1}' text-anchor='end'" if panel.kind == 'barh' else f"x='{2 * index - 1}' y='1'"
            found.append(f'<text {place}>{name}</text>')
    return found


def plot_lines(panel: Panel) -> list[str]:
    """The marks of a panel, a path a series."""
    first = panel.series[0]
    match panel.kind:
        case 'bar':
            return [stroke(columns(series.values), series, BARS) for series in panel.series]
        case 'barh':
            return [stroke(''.join(f'M0 {2 * index + 1}h{number(value)}' for index, value in enumerate(first.values)), first, BARS)]
        case 'grouped_bar':
            return [stroke(columns(series.values), series, f"{BARS} transform='translate({shift})'") for series, shift in zip(panel.series, SHIFTS)]
        case 'line':
            return [line for series in panel.series for line in line_lines(series)]
        case 'scatter':
            return [stroke(dots(series.positions, series.values), series, DOTS) for series in panel.series]
        case 'pie':
            return slices(first)
        case 'histogram':
            return [stroke(columns(binned(first.values, panel.bins)), first, BARS)]
        case 'box':
            return box_lines(panel)
        case 'heatmap':
            color = COLORS_OF_MAPS[panel.colormap]
            cells = [f"<path d='M{2 * column} {2 * row + 1}h2' opacity='.{number(value)}'/>"
                     for row, series in enumerate(panel.series) for column, value in enumerate(series.values)]
            return [f"<g stroke='{color}' {CELLS}>", *cells, '</g>']
    raise ValueError(f'a chart of kind {panel.kind!r} has no SVG form; difficulty 0 has none of them')


def stroke(path: str, series: Series, style: str = '') -> str:
    return f"<path d='{path}' stroke='{series.colors[0]}'{' ' if style else ''}{style}/>"


def columns(values) -> str:
    return ''.join(f'M{2 * index + 1} 0v{number(value)}' for index, value in enumerate(values))


def dots(positions, values) -> str:
    return ''.join(f'M{number(x)} {number(y)}h0' for x, y in zip(positions, values))


def line_lines(series: Series) -> list[str]:
    """A line, and its markers where it has some."""
    places = [2 * index for index in range(len(series.values))]
    path = 'M' + 'L'.join(f'{x} {number(y)}' for x, y in zip(places, series.values))
    lines = [stroke(path, series, DASHES if series.linestyle else '')]
    return lines + ([stroke(dots(places, series.values), series, DOTS)] if series.marker else [])


def slices(series: Series) -> list[str]:
    """Each value is a dash of a circle whose circumference is their sum, 4 units wide from its centre."""
    radius, done, found = sum(series.values) / (2 * math.pi), 0, []
    scale = number(round(2 / radius, 2))
    for value, color in zip(series.values, series.colors):
        found.append(f"<circle r='{number(round(radius, 2))}' stroke='{color}' stroke-dasharray='{number(value)} 99' stroke-dashoffset='-{number(done)}'/>")
        done += value
    return [f"<g transform='translate(4 4)scale({scale})' stroke-width='{number(round(2 * radius, 2))}'>", *found, '</g>']


def binned(values, bins: int) -> list[int]:
    """Counts of `bins` equal parts from the least to the greatest value."""
    low, high = min(values), max(values)
    width = (high - low) / bins or 1
    counts = Counter(min(int((value - low) / width), bins - 1) for value in values)
    return [counts[index] for index in range(bins)]


def box_lines(panel: Panel) -> list[str]:
    """Whiskers from the least to the greatest of five values, a box from the second to the fourth, a median."""
    whiskers = ''.join(f'M{2 * index + 1} {number(s.values[0])}V{number(s.values[4])}' for index, s in enumerate(panel.series))
    boxes = ''.join(f'M{2 * index + 1} {number(s.values[1])}V{number(s.values[3])}' for index, s in enumerate(panel.series))
    medians = ''.join(f'M{2 * index + 1} {number(s.values[2])}h.4' for index, s in enumerate(panel.series))
    return [f"<path d='{whiskers}'/>", stroke(boxes, panel.series[0], BARS), f"<path d='{medians}'/>"]
