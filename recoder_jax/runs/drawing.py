"""Figures of runs in one style, for the notebooks: curves, dialogues, intervals of arms, values of reward parts.

A figure is a `Picture`, which notebooks show; nothing here touches pyplot, so no figure stays behind.
"""

from collections.abc import Callable, Mapping, Sequence
import difflib
import io
import textwrap

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
import matplotlib.image
import numpy as np

from recoder_jax.runs.curves import Curve, Run, curves_of, groups, measured
from recoder_jax.runs.directory import RunDirectory
from recoder_jax.runs.records import DialogueRecord

COLOURS = ('#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9', '#7A5195', '#444444')      # Okabe and Ito's, and two more
STYLE = {'font.size': 9, 'axes.titlesize': 9.5, 'axes.titleweight': 'bold', 'axes.titlelocation': 'left', 'axes.spines.top': False, 'axes.spines.right': False,
         'axes.edgecolor': '#888888', 'axes.labelcolor': '#333333', 'xtick.color': '#555555', 'ytick.color': '#555555', 'axes.grid': True,
         'grid.color': '#e6e6e6', 'axes.axisbelow': True, 'legend.frameon': False, 'figure.facecolor': 'white'}
UNITS = {      # ends of metric names -> units on the axis
    'low_level': 'points', 'average_improvement': 'points', '/text': 'points', '/layout': 'points', '/chart_type': 'points',
    '/color': 'points',
    'executed': 'share', '_rate': 'share', 'truncated': 'share', 'equal_groups': 'share', 'tokens': 'tokens', '_tokens_per_s': 'tokens / s',
    'nll': 'nats / token', 'entropy': 'nats / token', 'logprob_gap': 'nats / token', 'grad_norm': 'norm', 'memory_peak_gb': 'GB'}


class Picture:
    """A figure as notebooks show it."""

    def __init__(self, figure: Figure, dots: int = 100):
        self.figure, self._dots = figure, dots

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        with rc_context(STYLE):
            self.figure.savefig(buffer, format='png', dpi=self._dots)
        return buffer.getvalue()


class Markdown:
    """Text as notebooks show it."""

    def __init__(self, text: str):
        self.text = text

    def _repr_markdown_(self) -> str:
        return self.text


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> Markdown:
    lines = [header, ['---'] * len(header), *rows]
    return Markdown('\n'.join('| ' + ' | '.join(str(cell).replace('|', '\\|') for cell in line) + ' |' for line in lines))


def unit_of(metric: str) -> str:
    """What the axis of a metric says."""
    if metric.startswith('time/'):
        return 's'
    if metric.startswith('reward/') and not metric.endswith('equal_groups') or metric.endswith(('/total', '/format', '/rule', '/model')):
        return 'reward, 0 to 1'
    return next((unit for end, unit in UNITS.items() if metric.endswith(end)), 'value')


def grid(count: int, columns: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """A figure of `count` panels, each width x height inches."""
    rows = -(-count // columns)
    figure = Figure(figsize=(width * columns, height * rows + 0.5), layout='constrained')
    FigureCanvasAgg(figure)
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for panel in panels[count:]:
        panel.set_axis_off()
    return figure, panels[:count]


def draw_curves(runs: Sequence[Run], metrics: Mapping[str, str] | Sequence[str], window: int = 5, columns: int = 3) -> Picture | Markdown:
    """A panel a metric: the mean over seeds, each seed thin, the 95 % interval of the mean shaded, dashed lines where a stage begins, triangles at alarms.

    metrics: names of metrics.jsonl, or names with titles; those that no run has are left out. window: updates a point is the mean of.
    """
    titles = dict(metrics) if isinstance(metrics, Mapping) else {name: name for name in metrics}
    names = measured(runs, list(titles))
    if not names:
        return Markdown(f'No run has any of {", ".join(titles)}.')
    labels = [group.label for group in groups(runs)]      # all of them, so that a group has one colour in all figures
    with rc_context(STYLE):
        columns = min(columns, len(names))
        figure, panels = grid(len(names), columns, 12 / columns if columns < 3 else 4, 2.7)
        for panel, name in zip(panels, names, strict=True):
            curves = curves_of(runs, name, window)
            for curve in curves:
                _draw_curve(panel, curve, COLOURS[labels.index(curve.label) % len(COLOURS)])
                _mark_alarms(panel, curve)
            _fit_to_seeds(panel, curves)
            panel.set(title=titles[name], xlabel='update', ylabel=unit_of(name))
        handles = {label: handle for panel in panels for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)}
        figure.legend(handles.values(), handles, loc='outside upper center', ncols=min(6, len(handles)))
    return Picture(figure)


def _fit_to_seeds(panel: Axes, curves: Sequence[Curve]) -> None:
    """Cut bands that reach further beyond the seeds than half of what these span: with two seeds they would leave nothing else to be seen."""
    seeds = np.concatenate([curve.seeds[np.isfinite(curve.seeds)] for curve in curves])
    least, most = seeds.min(initial=np.inf), seeds.max(initial=-np.inf)
    bottom, top = panel.get_ylim()
    if most > least:
        panel.set_ylim(max(bottom, least - (most - least) / 2), min(top, most + (most - least) / 2))


def _draw_curve(panel: Axes, curve: Curve, colour: str) -> None:
    steps = curve.offset + curve.steps
    count = len(curve.seeds)
    if count > 1:
        panel.plot(steps, curve.seeds.T, color=colour, linewidth=0.7, alpha=0.4)
        panel.fill_between(steps, curve.low, curve.high, color=colour, alpha=0.15, linewidth=0)
    panel.plot(steps, curve.mean, color=colour, linewidth=2, label=curve.label + (f' ({count} seeds)' if count > 1 else ''))
    if curve.offset:
        panel.axvline(curve.offset + 0.5, color='#999999', linewidth=0.9, linestyle='--')


def _mark_alarms(panel: Axes, curve: Curve) -> None:
    if curve.alarms:
        panel.plot([curve.offset + step for step in curve.alarms], [1.0] * len(curve.alarms), 'v', color='#c00000', markersize=6, transform=panel.get_xaxis_transform(), clip_on=False, label='alarm')


def draw_dialogues(run: RunDirectory, records: Sequence[DialogueRecord], difference: Callable[[np.ndarray, np.ndarray], np.ndarray],
                   tags: Callable[[DialogueRecord], Sequence[str]]) -> Picture | Markdown:
    """A row a dialogue: the target, then each turn's render and where it differs from the target, with scores; below, how the program changed."""
    if not records:
        return Markdown('No dialogue of this kind.')
    turns = max(len(record.turns) for record in records)
    with rc_context(STYLE | {'axes.grid': False}):
        texts = [_change(record) for record in records]
        heights = [height for text in texts for height in (2.35, 0.17 * (1 + text.count('\n')) + 0.15)]
        figure = Figure(figsize=(12, sum(heights)), layout='constrained')
        FigureCanvasAgg(figure)
        shape = figure.add_gridspec(2 * len(records), 1 + 2 * turns, height_ratios=heights)
        for row, (record, text) in enumerate(zip(records, texts, strict=True)):
            target = _read(run, record.target)
            _show(figure.add_subplot(shape[2 * row, 0]), target, f"target: {record.kind or 'chart'}\n{', '.join(tags(record)) or 'unchanged'}")
            for turn in record.turns:
                render = _read(run, turn.render)
                score = f"low-level {100 * turn.parts.get('low_level', 0):.0f}, reward {turn.parts.get('total', 0):.2f}"
                _show(figure.add_subplot(shape[2 * row, 2 * turn.turn - 1]), render, f'turn {turn.turn}: {turn.status or "no program"}\n{score}', turn.log)
                shown = None if render is None or target is None else difference(render, target)
                _show(figure.add_subplot(shape[2 * row, 2 * turn.turn]), shown, 'difference')
            below = figure.add_subplot(shape[2 * row + 1, :])
            below.set_axis_off()
            below.text(0, 1, text, family='monospace', fontsize=7.5, va='top', color='#333333', transform=below.transAxes)
    return Picture(figure)


def _change(record: DialogueRecord) -> str:
    """Lines in which the last program differs from the first, or from the golden one where there is one turn."""
    first, last = record.turns[0].program or '', record.turns[-1].program or ''
    pair = (record.golden, last, 'golden program', 'turn 1') if len(record.turns) == 1 else (first, last, 'turn 1', f'turn {len(record.turns)}')
    lines = [line for line in difflib.unified_diff(*(text.strip().splitlines() for text in pair[:2]), n=0, lineterm='') if not line.startswith(('---', '+++', '@@'))]
    if not lines:
        return f'{pair[2]} and {pair[3]} have equal programs'
    return '\n'.join([f'- {pair[2]}   + {pair[3]}', *(textwrap.shorten(line, 150, placeholder=' ...') for line in lines[:8]),
                      *([f'and {len(lines) - 8} lines more'] if len(lines) > 8 else [])])


def _read(run: RunDirectory, name: str | None) -> np.ndarray | None:
    """uint8 [H, W, 3], None where there is no render."""
    if name is None or not (run.renders / name).is_file():
        return None
    return np.rint(255 * matplotlib.image.imread(run.renders / name)[..., :3]).astype(np.uint8)


def _show(panel: Axes, image: np.ndarray | None, title: str, log: str = '') -> None:
    panel.set_title(title, fontsize=8, fontweight='normal')
    panel.set(xticks=[], yticks=[])
    for side in panel.spines.values():
        side.set(visible=True, color='#cccccc')
    if image is not None:
        panel.imshow(image)
        return
    panel.set(aspect='equal', xlim=(0, 1), ylim=(0, 1), facecolor='#f6f6f6')
    panel.text(0.5, 0.5, textwrap.fill(log.strip().splitlines()[-1], 24) if log.strip() else 'no render', ha='center', va='center', fontsize=7, color='#777777')


def draw_arms(arms: Mapping[str, Mapping[str, object]], measures: Mapping[str, str], columns: int = 3) -> Picture:
    """A panel a measure, a row an arm: the value with its 95 % interval, and each seed as a hollow dot.

    arms: label -> measure -> something with `value`, `low`, `high` and `seeds`. measures: name -> title with its unit.
    """
    labels = list(arms)
    with rc_context(STYLE):
        figure, panels = grid(len(measures), min(columns, len(measures)), 4, 0.36 * len(labels) + 1.0)
        for panel, (name, title) in zip(panels, measures.items(), strict=True):
            for row, label in enumerate(labels):
                found, colour = arms[label].get(name), COLOURS[row % len(COLOURS)]
                if found is None or found.value is None:
                    panel.text(0.5, row, 'not measured', transform=panel.get_yaxis_transform(), ha='center', va='center', fontsize=7.5, color='#999999')
                    continue
                panel.plot([found.low, found.high], [row, row], color=colour, linewidth=2.2, solid_capstyle='round')
                if len(found.seeds) > 1:
                    panel.plot(found.seeds, [row] * len(found.seeds), 'o', markerfacecolor='none', color=colour, markersize=4, linewidth=0)
                panel.plot([found.value], [row], 'o', color=colour, markersize=7)
            panel.set(title=title, yticks=range(len(labels)), ylim=(len(labels) - 0.4, -0.6), xlabel='points')
            panel.set_yticklabels(labels if panel.get_subplotspec().is_first_col() else [])
    return Picture(figure)


def draw_parts(values: Mapping[str, Mapping[str, float | None]], title: str) -> Picture:
    """A matrix of values in [0, 1]: a row a damage, a column a reward part; a part that could not be had is left grey."""
    rows, columns = list(values), list(next(iter(values.values())))
    shown = np.array([[np.nan if values[row].get(name) is None else values[row][name] for name in columns] for row in rows], float)
    with rc_context(STYLE | {'axes.grid': False}):
        figure = Figure(figsize=(0.72 * len(columns) + 2.2, 0.3 * len(rows) + 1.9), layout='constrained')
        FigureCanvasAgg(figure)
        panel = figure.subplots()
        panel.set_facecolor('#dddddd')
        picture = panel.imshow(shown, cmap='RdYlBu', vmin=0, vmax=1, aspect='auto')
        for row, column in np.argwhere(~np.isnan(shown)):
            value = shown[row, column]
            panel.text(column, row, f'{value:.2f}', ha='center', va='center', fontsize=7.5, color='white' if value > 0.85 or value < 0.12 else '#222222')
        panel.set(title=title, yticks=range(len(rows)), yticklabels=rows, xticks=range(len(columns)))
        panel.set_xticklabels(columns, rotation=40, ha='right')
        figure.colorbar(picture, ax=panel, label='value of the part, 0 to 1', shrink=0.8)
    return Picture(figure)


def draw_images(images: Mapping[str, np.ndarray | None], columns: int = 6) -> Picture:
    """Pictures with titles, in rows."""
    with rc_context(STYLE | {'axes.grid': False}):
        figure, panels = grid(len(images), min(columns, len(images)), 2, 2.15)
        for panel, (name, image) in zip(panels, images.items(), strict=True):
            _show(panel, image, name)
    return Picture(figure)
