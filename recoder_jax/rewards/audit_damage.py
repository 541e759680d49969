"""Damages of known kind and strength, done to a program of the chart world or to an image, for auditing rewards.

Strength 0 is the chart itself; a greater strength does more of the same. What a damage does is said beside it. The strengths
are ours: neighbours can be told apart by eye at 224 x 224 pixels.
"""

import codecs
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from matplotlib.colors import to_rgb
from PIL import Image

from recoder_jax.data.chart_world_program import write_program
from recoder_jax.data.chart_world_spec import ChartSpec, Panel, Series
from recoder_jax.rewards.images import one_colour

_SAVE = "plt.savefig('chart.png')"
_EMPTY = 'import matplotlib.pyplot as plt\nfig = plt.figure(figsize=(2.24, 2.24))\n' + _SAVE + '\n'

# Kind that a panel is drawn as instead; panels of other kinds keep theirs.
_OTHER_KIND = {
    'bar': 'pie', 'barh': 'pie', 'pie': 'bar', 'grouped_bar': 'line', 'stacked_bar': 'line', 'line': 'grouped_bar',
    'area': 'grouped_bar', 'scatter': 'grouped_bar', 'histogram': 'box', 'box': 'histogram',
}


@dataclass(frozen=True)
class ProgramDamage:
    """apply(spec, strength): the damaged program, None where the damage does not apply. strengths: the greatest."""

    name: str
    strengths: int
    apply: Callable[[ChartSpec, int], str | None]


@dataclass(frozen=True)
class ImageDamage:
    """apply(image, strength): the damaged image, uint8 [H, W, 3]."""

    name: str
    strengths: int
    apply: Callable[[np.ndarray, int], np.ndarray]


def damaged_programs(spec: ChartSpec) -> list[tuple[str, int, str]]:
    """(name, strength, program) of every damage that applies to a chart and changes its program, and more so than a lesser strength."""
    found, met = [], {write_program(spec)}
    for damage in PROGRAM_DAMAGES:
        for strength in range(1, damage.strengths + 1):
            program = damage.apply(spec, strength)
            if program is not None and program not in met:
                found.append((damage.name, strength, program))
                met.add(program)
    return found


def damaged_images(image: np.ndarray) -> list[tuple[str, int, np.ndarray]]:
    """(name, strength, image) of every damage that changes an image of more than one colour."""
    found = []
    for damage in IMAGE_DAMAGES:
        last = image
        for strength in range(1, damage.strengths + 1):
            result = damage.apply(image, strength)
            if result.shape == image.shape and np.array_equal(result, last):
                break
            found.append((damage.name, strength, result))
            last = result
    return [] if one_colour(image) else found


def _colour(spec: ChartSpec, strength: int) -> str | None:
    """Colours moved 1, 2 or 3 thirds of the way to the far corner of RGB; heatmaps have none to move."""
    def moved(color: str) -> str:
        levels = [level + (float(level < 0.5) - level) * strength / 3 for level in to_rgb(color)]
        return '#' + ''.join(f'{round(255 * level):02x}' for level in levels)
    return _with_series(spec, lambda series: replace(series, colors=tuple(moved(color) for color in series.colors)))


def _data(spec: ChartSpec, strength: int) -> str:
    """Values raised and lowered in turn by 15, 40 or 80 %."""
    share = (0.15, 0.4, 0.8)[strength - 1]
    return _with_series(spec, lambda series: replace(series, values=tuple(
        round(value * (1 + (share if n % 2 else -share)), 1) for n, value in enumerate(series.values))))


def _values(spec: ChartSpec, strength: int) -> str:
    """1, 2 or 3 thirds of the values raised by 40 %."""
    return _with_series(spec, lambda series: replace(series, values=tuple(
        round(value * 1.4, 1) if n % 3 < strength else value for n, value in enumerate(series.values))))


def _with_series(spec: ChartSpec, change: Callable[[Series], Series]) -> str:
    panels = tuple(replace(panel, series=tuple(map(change, panel.series))) for panel in spec.panels)
    return write_program(replace(spec, panels=panels))


def _text(spec: ChartSpec, strength: int) -> str | None:
    """1, 2 or 3 thirds of the letters of titles, labels, legends and names of slices replaced by others."""
    spell = _Respelling(strength)
    panels = tuple(replace(
        panel, title=spell(panel.title), x_label=spell(panel.x_label), y_label=spell(panel.y_label),
        categories=tuple(map(spell, panel.categories)) if panel.kind == 'pie' else panel.categories,
        series=tuple(replace(one, label=spell(one.label)) for one in panel.series)) for panel in spec.panels)
    return write_program(replace(spec, panels=panels)) if spell.met > 2 else None


def _ticks(spec: ChartSpec, strength: int) -> str | None:
    """The same for the categories that tick labels name."""
    spell = _Respelling(strength)
    panels = tuple(replace(panel, categories=tuple(map(spell, panel.categories))) if panel.kind != 'pie' else panel for panel in spec.panels)
    return write_program(replace(spec, panels=panels)) if spell.met > 2 else None


class _Respelling:
    """Replaces letters number 0 to strength - 1 of every three that it meets by those 13 places on in the alphabet; met: how many."""

    def __init__(self, strength: int):
        self.met, self._strength = 0, strength

    def __call__(self, text: str) -> str:
        return ''.join(map(self._letter, text))

    def _letter(self, letter: str) -> str:
        if not ('a' <= letter.lower() <= 'z'):
            return letter
        self.met += 1
        return codecs.encode(letter, 'rot13') if (self.met - 1) % 3 < self._strength else letter


def _overlap(spec: ChartSpec, strength: int) -> str | None:
    """Titles grow and sink into the axes, axis labels move over the tick labels; every text stays as it is."""
    if not any(panel.title or panel.x_label or panel.y_label for panel in spec.panels):
        return None
    return _before_saving(
        spec, 'for ax in fig.axes:',
        f'    ax.set_title(ax.get_title(), y={1 - 0.25 * strength}, fontsize={12 + 4 * strength})',
        f'    ax.xaxis.labelpad = ax.yaxis.labelpad = {-9 * strength}')


def _layout(spec: ChartSpec, strength: int) -> str:
    """The chart squeezed to the left, 1, 2 or 3 empty panels beside it."""
    width = 1 / (strength + 1)
    return _before_saving(
        spec, 'for ax in fig.axes:', '    box = ax.get_position()',
        f'    ax.set_position([box.x0 * {width}, box.y0, box.width * {width}, box.height])',
        f'for n in range({strength}):', f'    fig.add_axes([(n + 1.3) * {width}, 0.2, 0.6 * {width}, 0.65])')


def _before_saving(spec: ChartSpec, *lines: str) -> str:
    return write_program(spec).replace(_SAVE, '\n'.join([*lines, _SAVE]))


def _type(spec: ChartSpec, strength: int) -> str:
    """The same values drawn by another plotting function."""
    return write_program(replace(spec, panels=tuple(map(_other_kind, spec.panels))))


def _other_kind(panel: Panel) -> Panel:
    kind = _OTHER_KIND.get(panel.kind, panel.kind)
    if kind == panel.kind:
        return panel
    series = tuple(replace(one, hatch='', marker='', linestyle='', positions=()) for one in panel.series)
    if kind == 'histogram':
        values = tuple(value for one in series for value in one.values)
        return replace(panel, kind=kind, series=(replace(series[0], values=values),), bins=4)
    return replace(panel, kind=kind, series=series, grid=panel.grid and kind != 'pie')


PROGRAM_DAMAGES = (
    ProgramDamage('colour', 3, _colour), ProgramDamage('text', 3, _text), ProgramDamage('ticks', 3, _ticks),
    ProgramDamage('overlap', 3, _overlap), ProgramDamage('data', 3, _data), ProgramDamage('values', 3, _values),
    ProgramDamage('type', 1, _type), ProgramDamage('layout', 3, _layout), ProgramDamage('blank', 1, lambda spec, strength: _EMPTY),
)


def _image_colour(image: np.ndarray, strength: int) -> np.ndarray:
    """Channels mixed 1, 2 or 3 thirds of the way with the next one; white, black and grey stay."""
    share = strength / 3
    return (image * (1 - share) + image[..., [1, 2, 0]] * share).round().astype(np.uint8)


def _image_overlap(image: np.ndarray, strength: int) -> np.ndarray:
    """Dark strokes, as texts are, drawn 1, 2 or 3 more times a few pixels aside."""
    step = max(2, image.shape[1] // 60)
    strokes = np.where(image.max(axis=2, keepdims=True) < 110, image, 255)
    copies = [np.roll(strokes, (n * step, n * step), (0, 1)) for n in range(1, strength + 1)]
    return np.minimum.reduce([image, *copies])


def _image_data(image: np.ndarray, strength: int) -> np.ndarray:
    """What stands between 20 % and 80 % of the height of each column moved up and down in waves of 4, 8 or 12 % of the height."""
    height, width = image.shape[:2]
    top, bottom = height // 5, max(height // 5 + 1, height * 4 // 5)
    waves = np.sin(np.arange(width) * 8 * np.pi / width) * 0.04 * strength * height
    rows = (np.arange(bottom - top)[:, None] + waves.round().astype(int)) % (bottom - top) + top
    result = image.copy()
    result[top:bottom] = image[rows, np.arange(width)]
    return result


def _image_layout(image: np.ndarray, strength: int) -> np.ndarray:
    """The chart shrunk to 75, 55 or 35 % of its sides in the upper left corner of a page."""
    height, width = image.shape[:2]
    share = 0.95 - 0.2 * strength
    small = Image.fromarray(image).resize((max(1, int(width * share)), max(1, int(height * share))), Image.Resampling.BOX)
    page = np.broadcast_to(image[:1, :1], image.shape).copy()
    page[:small.height, :small.width] = np.asarray(small)
    return page


def _image_blank(image: np.ndarray, strength: int) -> np.ndarray:
    """A page of the colour of the upper left corner."""
    return np.broadcast_to(image[:1, :1], image.shape).copy()


IMAGE_DAMAGES = (
    ImageDamage('colour', 3, _image_colour), ImageDamage('overlap', 3, _image_overlap), ImageDamage('data', 3, _image_data),
    ImageDamage('layout', 3, _image_layout), ImageDamage('blank', 1, _image_blank),
)
