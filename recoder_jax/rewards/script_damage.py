"""Damages of known kind and strength, done to the figure of any program: code put behind a script changes what its figure shows.

They bear the names and strengths of those of `audit_damage`, which rewrite a program of the chart world. `ticks` and `type` have no
counterpart here. The functions below are that code: their source goes behind the script, so each of them imports what it needs. A
script that saves a figure other than the current one, or ends itself, is not changed by them.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class ScriptDamage:
    """change(figure, strength): what is done to the figure. strengths: the greatest. helpers: functions that change calls."""

    name: str
    strengths: int
    change: Callable
    helpers: tuple[Callable, ...] = ()


def damaged_scripts(script: str) -> list[tuple[str, int, str]]:
    """(name, strength, program) of every damage. Which of them change the render shows when the programs have run."""
    return [(damage.name, strength, damaged_script(script, damage, strength))
            for damage in SCRIPT_DAMAGES for strength in range(1, damage.strengths + 1)]


def damaged_script(script: str, damage: ScriptDamage, strength: int) -> str:
    """The script with code behind it that changes the current figure, where there is one."""
    return '\n'.join([
        script, '', *map(inspect.getsource, (*damage.helpers, damage.change)), 'import matplotlib.pyplot',
        'if matplotlib.pyplot.get_fignums():', f'    {damage.change.__name__}(matplotlib.pyplot.gcf(), {strength})', ''])


def _move_colours(figure, strength):
    """Colours of lines, patches and collections moved 1, 2 or 3 thirds of the way to the far corner of RGB; colormaps stay."""
    from matplotlib.colors import to_rgba, to_rgba_array

    def moved(color):
        *levels, alpha = to_rgba(color)
        return (*(min(1, max(0, level + ((level < 0.5) - level) * strength / 3)) for level in levels), alpha)

    legends = [*figure.legends, *(ax.get_legend() for ax in figure.axes if ax.get_legend())]
    keys = [key for legend in legends for key in legend.legend_handles if key is not None]
    for one in [artist for ax in figure.axes for artist in (*ax.lines, *ax.patches, *ax.collections)] + keys:
        if hasattr(one, 'get_markerfacecolor'):
            line, face, edge = map(moved, (one.get_color(), one.get_markerfacecolor(), one.get_markeredgecolor()))
            one.set_color(line)
            one.set_markerfacecolor(face)
            one.set_markeredgecolor(edge)
        elif getattr(one, 'get_array', lambda: None)() is None and hasattr(one, 'get_facecolor'):
            face, edge = ([*map(moved, to_rgba_array(colors))] for colors in (one.get_facecolor(), one.get_edgecolor()))
            one.set_facecolor(face if hasattr(one, 'get_offsets') else face[0])
            one.set_edgecolor(edge if hasattr(one, 'get_offsets') else edge[0])


def _respell_texts(figure, strength):
    """1, 2 or 3 thirds of the letters of titles, labels, legends and texts replaced by those 13 places on; formulas stay."""
    import codecs
    import itertools

    axes = figure.axes
    legends = [*figure.legends, *(ax.get_legend() for ax in axes if ax.get_legend())]
    texts = [*figure.texts, *(text for ax in axes for text in (
        ax.title, ax._left_title, ax._right_title, ax.xaxis.label, ax.yaxis.label, *ax.texts))]
    texts += [text for legend in legends for text in (legend.get_title(), *legend.get_texts())]
    count = itertools.count()
    for text in texts:
        if '$' not in text.get_text():
            text.set_text(''.join(
                codecs.encode(letter, 'rot13') if 'a' <= letter.lower() <= 'z' and next(count) % 3 < strength else letter
                for letter in text.get_text()))


def _sink_titles(figure, strength):
    """Titles grow and sink into the axes, axis labels move over the tick labels; every text stays as it is."""
    for text in figure.texts:
        text.set_fontsize(text.get_fontsize() + 4 * strength)
    for ax in figure.axes:
        look = ax.title.get_fontproperties().copy()
        look.set_size(12 + 4 * strength)
        ax.set_title(ax.get_title(), y=1 - 0.25 * strength, color=ax.title.get_color(), fontproperties=look)
        ax.xaxis.labelpad = ax.yaxis.labelpad = -9 * strength


def _alternate_values(figure, strength):
    """Values raised and lowered in turn by 15, 40 or 80 %."""
    share = (0.15, 0.4, 0.8)[strength - 1]
    _scale_values(figure, lambda n: 1 + share if n % 2 else 1 - share)


def _raise_values(figure, strength):
    """1, 2 or 3 thirds of the values raised by 40 %."""
    _scale_values(figure, lambda n: 1.4 if n % 3 < strength else 1)


def _scale_values(figure, factor):
    """Value number n of each line, group of bars and scatter times factor(n); where one changes, limits follow if the script let them."""
    import numpy as np
    from matplotlib.collections import PathCollection
    from matplotlib.container import BarContainer

    def scaled(values):
        values = np.ma.array(values, float)
        result = values * [factor(n) for n in range(len(values))]
        changed.append(bool(np.ma.any(result != values)))
        return result

    for ax in figure.axes:
        changed = []
        for line in ax.lines:
            if line.get_transform() == ax.transData:
                line.set_ydata(scaled(line.get_ydata(orig=False)))
        for bars in ax.containers:
            if isinstance(bars, BarContainer):
                side = 'width' if bars.orientation == 'horizontal' else 'height'
                for bar, length in zip(bars, scaled([getattr(bar, f'get_{side}')() for bar in bars])):
                    bar.set(**{side: length})
        for dots in ax.collections:
            if isinstance(dots, PathCollection):
                places = dots.get_offsets()
                dots.set_offsets(np.ma.stack([places[:, 0], scaled(places[:, 1])], axis=1))
        if any(changed):
            ax.relim()
            ax.autoscale_view()


def _squeeze(figure, strength):
    """The axes squeezed to the left, 1, 2 or 3 empty ones beside them."""
    if figure.get_layout_engine() is not None:
        figure.draw_without_rendering()
        figure.set_layout_engine('none')
    width = 1 / (strength + 1)
    for ax in figure.axes:
        box = ax.get_position()
        ax.set_position([box.x0 * width, box.y0, box.width * width, box.height])
    for n in range(strength):
        figure.add_axes([(n + 1.3) * width, 0.2, 0.6 * width, 0.65])


def _blank(figure, strength):
    """An empty figure of the same size, saved in its place."""
    import matplotlib.pyplot

    matplotlib.pyplot.figure(figsize=figure.get_size_inches()).savefig('chart.png')


SCRIPT_DAMAGES = (
    ScriptDamage('colour', 3, _move_colours), ScriptDamage('text', 3, _respell_texts), ScriptDamage('overlap', 3, _sink_titles),
    ScriptDamage('data', 3, _alternate_values, (_scale_values,)), ScriptDamage('values', 3, _raise_values, (_scale_values,)),
    ScriptDamage('layout', 3, _squeeze), ScriptDamage('blank', 1, _blank),
)
