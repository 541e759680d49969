"""Flawed first programs with a diagnosis: what a policy learns to correct itself from.

`make_correction(spec, rng)` makes 1 to 3 realistic edits to a chart of the chart world and says, in one short sentence an
edit, what is wrong. About one in five flawed programs raises an exception instead of drawing. Every flawed program scores
below the golden one: at least one edit changes texts, layout, chart type or colours, or the program fails. (A changed value
alone does not: no rule score looks at values.)
"""
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
import re
from typing import Callable

import numpy as np

from recoder_jax.data.chart_world import ChartWorld, pick, seeded
from recoder_jax.data.chart_world_program import write_program
from recoder_jax.data.chart_world_spec import ChartSpec, Panel, Series
from recoder_jax.data.chart_world_words import COLORS, dial

CRASH_SHARE = 0.2
EXTRA_EDIT_SHARES = (0.55, 0.9)  # one edit below the first, two below the second, else three


@dataclass(frozen=True)
class Correction:
    """A flawed program and the think text that precedes its correction.

    diagnosis: one sentence an edit, true of the flawed program compared with the golden one.
    edits: names of the edits made. error: the exception class the program raises, '' when it draws.
    """
    flawed: str
    diagnosis: str
    edits: tuple[str, ...]
    error: str = ''


@dataclass(frozen=True)
class Edit:
    """An edit of a panel: its name, its sentence, and a function that returns the edited panel, or None where it does not
    apply. Edits of one group exclude each other, so that no sentence turns false through a later edit."""
    name: str
    group: str
    sentence: str
    apply: Callable[[Panel, 'Draw'], Panel | None]
    weight: float = 1.0


@dataclass(frozen=True)
class Draw:
    """What an edit draws from: a generator and the words of the chart's difficulty."""
    rng: np.random.Generator
    difficulty: int

    def other(self, choices, current):
        """One of `choices` that differs from `current`; None where there is none."""
        rest = [choice for choice in choices if choice != current]
        return pick(self.rng, rest) if rest else None


@dataclass(frozen=True)
class Crash:
    """A textual edit after which a program raises `error`; `apply` returns None where it does not apply."""
    name: str
    sentence: str
    error: str
    apply: Callable[[str, np.random.Generator], str | None]


def world_correction(world: ChartWorld, index: int) -> Correction:
    """The correction of one chart of the world, the same on every machine."""
    return make_correction(world.spec(index), seeded('correction', world.split, index, world.difficulty))


def make_correction(
    spec: ChartSpec, rng: np.random.Generator, write: Callable[[ChartSpec], str] = write_program, crashes: Sequence[Crash] | None = None
) -> Correction:
    """Edits the program of `spec`. Drawn from `rng` alone. write: spec to program. crashes: those of its language, by default python's."""
    if rng.random() < CRASH_SHARE:
        return make_crash(spec, rng, write, CRASHES if crashes is None else crashes)
    draw = Draw(rng, spec.difficulty)
    count = 1 + int(np.searchsorted(EXTRA_EDIT_SHARES, rng.random(), side='right'))
    edited, made = spec, []
    for edit in shuffled_edits(rng):
        if len(made) == count:
            break
        if any(edit.group == other.group for other in made):
            continue
        if edit.group == 'data' and not made:
            continue  # needs a companion that a score can see
        result = edit_spec(edited, edit, draw)
        if result is not None:
            edited, made = result, made + [edit]
    return Correction(write(edited), ' '.join(edit.sentence for edit in made), tuple(edit.name for edit in made))


def make_crash(spec: ChartSpec, rng: np.random.Generator, write: Callable[[ChartSpec], str], crashes: Sequence[Crash]) -> Correction:
    """A golden program broken in one place, so that it raises."""
    program = write(spec)
    for index in rng.permutation(len(crashes)):
        crash = crashes[int(index)]
        flawed = crash.apply(program, rng)
        if flawed is not None and flawed != program:
            return Correction(flawed, crash.sentence, (crash.name,), crash.error)
    raise ValueError(f'no crash applies to this program, write one that does: {program!r}')


def shuffled_edits(rng: np.random.Generator) -> list[Edit]:
    """All edits in a random order, the heavier ones earlier."""
    keys = [rng.random() ** (1 / edit.weight) for edit in EDITS]
    return [EDITS[index] for index in np.argsort(keys)[::-1]]


def edit_spec(spec: ChartSpec, edit: Edit, draw: Draw) -> ChartSpec | None:
    """Applies an edit to one panel, or to the layout; None where it does not apply."""
    if edit.group == 'layout':
        return wrong_layout(spec, draw)
    index = int(draw.rng.integers(len(spec.panels)))
    panel = edit.apply(spec.panels[index], draw)
    if panel is None:
        return None
    return replace(spec, panels=spec.panels[:index] + (panel,) + spec.panels[index + 1:])


# Edits of panels.


def wrong_text(field: str, table: str) -> Callable[[Panel, Draw], Panel | None]:
    """Replaces a text by another word of the same sort."""
    def apply(panel: Panel, draw: Draw) -> Panel | None:
        current = getattr(panel, field)
        first, _, rest = current.partition(' ')
        if not current:
            return None
        settings = dial(draw.difficulty)
        if rest and draw.rng.random() < 0.5:
            return replace(panel, title=f'{draw.other(settings.qualifiers, first)} {rest}')
        word = draw.other(getattr(settings, table), rest or first)
        return replace(panel, **{field: f'{first} {word}' if rest else word})
    return apply


def missing_text(field: str) -> Callable[[Panel, Draw], Panel | None]:
    def apply(panel: Panel, draw: Draw) -> Panel | None:
        return replace(panel, **{field: ''}) if getattr(panel, field) else None
    return apply


def missing_legend(panel: Panel, draw: Draw) -> Panel | None:
    if not panel.legend:
        return None
    return replace(panel, series=tuple(replace(series, label='') for series in panel.series))


def wrong_legend(panel: Panel, draw: Draw) -> Panel | None:
    """Another word for one legend entry."""
    if not panel.legend:
        return None
    index = int(draw.rng.integers(len(panel.series)))
    used = {series.label for series in panel.series}
    label = pick(draw.rng, [word for word in dial(draw.difficulty).series if word not in used])
    return replace(panel, series=with_item(panel.series, index, replace(panel.series[index], label=label)))


def wrong_color(panel: Panel, draw: Draw) -> Panel | None:
    """One colour becomes another of the eight that lie far apart; every series that wore it follows."""
    if panel.colormap:
        return replace(panel, colormap=draw.other(dial(draw.difficulty).colormaps, panel.colormap))
    old = pick(draw.rng, panel.colors)
    new = pick(draw.rng, [color for color in COLORS[0] if color not in panel.colors])
    def recolored(series: Series) -> Series:
        return replace(series, colors=tuple(new if color == old else color for color in series.colors))
    return replace(panel, series=tuple(recolored(series) for series in panel.series))


def wrong_type(panel: Panel, draw: Draw) -> Panel | None:
    """Draws the same data with another kind of chart."""
    first = panel.series[0]
    plain = tuple(replace(series, hatch='', marker='', linestyle='', positions=()) for series in panel.series)
    match panel.kind:
        case 'bar':
            kind = pick(draw.rng, ('barh', 'line'))
            one = (replace(plain[0], colors=first.colors[:1]),)
            return replace(panel, kind=kind, reference=None) if kind == 'barh' else replace(
                panel, kind='line', series=one, categories=())
        case 'barh':
            return replace(panel, kind='bar')
        case 'grouped_bar' | 'stacked_bar' | 'area':
            return replace(panel, kind='line', series=plain)
        case 'line':
            return replace(panel, kind='grouped_bar', series=plain)
        case 'scatter':
            return replace(panel, kind='line', series=tuple(replace(series, marker='') for series in panel.series))
        case 'pie':
            return replace(panel, kind=pick(draw.rng, ('bar', 'barh')))
        case 'histogram':
            counts = Counter(first.values)
            names = tuple(f'{value:g}' for value in sorted(counts))
            bars = Series(tuple(counts[value] for value in sorted(counts)), first.colors)
            return replace(panel, kind='bar', series=(bars,), categories=names, bins=0)
        case 'box':
            medians = Series(tuple(float(np.median(series.values)) for series in panel.series), first.colors)
            names = tuple(str(index + 1) for index in range(len(panel.series)))
            return replace(panel, kind='bar', series=(medians,), categories=names)
    return None


def missing_series(panel: Panel, draw: Draw) -> Panel | None:
    """Leaves out one series of several, or one slice of a pie. A missing box or row changes no score, so those stay."""
    first = panel.series[0]
    if panel.kind == 'pie' and len(first.values) > 2:
        dropped = int(draw.rng.integers(len(first.values)))
        keep = [index for index in range(len(first.values)) if index != dropped]
        values, colors = tuple(first.values[index] for index in keep), tuple(first.colors[index] for index in keep)
        return replace(panel, series=(replace(first, values=values, colors=colors),),
                       categories=tuple(panel.categories[index] for index in keep))
    if panel.kind in ('box', 'heatmap') or len(panel.series) < 2:
        return None
    dropped = int(draw.rng.integers(len(panel.series)))
    return replace(panel, series=panel.series[:dropped] + panel.series[dropped + 1:])


def extra_series(panel: Panel, draw: Draw) -> Panel | None:
    """Adds a series of other values in another colour."""
    if panel.kind not in ('line', 'scatter', 'grouped_bar', 'stacked_bar', 'area') or len(panel.series) > 2:
        return None
    last = panel.series[-1]
    color = pick(draw.rng, [color for color in COLORS[0] if color not in panel.colors])
    used = {series.label for series in panel.series}
    label = pick(draw.rng, [word for word in dial(draw.difficulty).series if word not in used]) if panel.legend else ''
    values = tuple(reversed(last.values))
    return replace(panel, series=panel.series + (replace(last, values=values, colors=(color,), label=label),))


def wrong_value(panel: Panel, draw: Draw) -> Panel | None:
    """One value becomes another integer from 1 to the largest of the difficulty."""
    index = int(draw.rng.integers(len(panel.series)))
    series = panel.series[index]
    at = int(draw.rng.integers(len(series.values)))
    value = draw.other(range(1, dial(draw.difficulty).largest + 1), series.values[at])
    if panel.kind in ('histogram', 'box'):
        return None  # samples are sorted, and one of them hardly shows
    return replace(panel, series=with_item(panel.series, index, replace(series, values=with_item(series.values, at, value))))


def wrong_layout(spec: ChartSpec, draw: Draw) -> ChartSpec:
    """Two panels change from side by side to one above the other, or back; a single chart gets a second panel of itself."""
    if len(spec.panels) > 1:
        return replace(spec, rows=spec.columns, columns=spec.rows)
    rows, columns = pick(draw.rng, ((1, 2), (2, 1)))
    return replace(spec, panels=spec.panels * 2, rows=rows, columns=columns)


def with_item(items: tuple, index: int, item) -> tuple:
    return items[:index] + (item,) + items[index + 1:]


EDITS = (
    Edit('wrong title', 'title', 'The title is wrong.', wrong_text('title', 'titles'), 3.0),
    Edit('missing title', 'title', 'The title is missing.', missing_text('title'), 0.5),
    Edit('wrong x label', 'x label', 'The x label is wrong.', wrong_text('x_label', 'x_labels'), 2.0),
    Edit('missing x label', 'x label', 'The x label is missing.', missing_text('x_label'), 0.5),
    Edit('wrong y label', 'y label', 'The y label is wrong.', wrong_text('y_label', 'y_labels'), 2.0),
    Edit('missing y label', 'y label', 'The y label is missing.', missing_text('y_label'), 0.5),
    Edit('wrong legend', 'legend', 'The legend is wrong.', wrong_legend, 1.5),
    Edit('missing legend', 'legend', 'The legend is missing.', missing_legend, 0.5),
    Edit('wrong color', 'plot', 'The color is wrong.', wrong_color, 4.0),
    Edit('wrong chart type', 'plot', 'The chart type is wrong.', wrong_type, 1.0),
    Edit('missing series', 'plot', 'A series is missing.', missing_series, 1.0),
    Edit('extra series', 'plot', 'One series is too many.', extra_series, 0.7),
    Edit('wrong layout', 'layout', 'The layout is wrong.', lambda panel, draw: panel, 0.3),
    Edit('wrong value', 'data', 'A value is wrong.', wrong_value, 2.0),
)


# Textual edits after which a program raises.


def misspell_method(program: str, rng: np.random.Generator) -> str | None:
    methods = 'bar|barh|plot|scatter|pie|hist|boxplot|imshow|fill_between|set|legend'
    calls = list(re.finditer(rf'(?<=[a-z]\.)({methods})(?=\()', program))
    if not calls:
        return None
    call = pick(rng, calls)
    shorter = 'brh' if call[0] == 'barh' else call[0][:-1]  # 'bar' is a method too
    name = pick(rng, (call[0] + 's', shorter, call[0] + call[0][-1]))
    return program[:call.start()] + name + program[call.end():]


def misspell_name(program: str, rng: np.random.Generator) -> str | None:
    old, new = pick(rng, (('plt.savefig', 'plot.savefig'), ('plt.subplots', 'plr.subplots')))
    return program.replace(old, new)


def misspell_keyword(program: str, rng: np.random.Generator) -> str | None:
    return program.replace('color=', 'colour=', 1) if 'color=' in program else None


def misspell_color(program: str, rng: np.random.Generator) -> str | None:
    colors = list(re.finditer(r"(?<=color=')([a-z]+)(?=')", program))
    if not colors:
        return None
    color = pick(rng, colors)
    return program[:color.end()] + pick(rng, ('ish', 'y')) + program[color.end():]


def shorten_values(program: str, rng: np.random.Generator) -> str | None:
    """Leaves out the last value of a call that also lists its categories or positions."""
    call = re.search(r"\.(?:bar|barh|pie|plot|scatter|fill_between)\((?:x[^\[]*|\[[^\]]+\], )\[[^\]]+(?=, [\d.]+\])", program)
    return None if call is None else program[:call.end()] + re.sub(r'^, [\d.]+', '', program[call.end():])


def drop_parenthesis(program: str, rng: np.random.Generator) -> str | None:
    lines = program.split('\n')
    calls = [index for index, line in enumerate(lines) if line.endswith(')')]
    index = int(pick(rng, calls))
    lines[index] = lines[index][:-1]
    return '\n'.join(lines)


def drop_import(program: str, rng: np.random.Generator) -> str | None:
    return re.sub(r'^import matplotlib.*\n', '', program)


CRASHES = (
    Crash('misspelled method', 'AttributeError: a method is misspelled.', 'AttributeError', misspell_method),
    Crash('misspelled name', 'NameError: a name is misspelled.', 'NameError', misspell_name),
    Crash('unknown keyword', 'The color keyword is misspelled.', 'AttributeError', misspell_keyword),
    Crash('unknown color', 'ValueError: a color is misspelled.', 'ValueError', misspell_color),
    Crash('different lengths', 'ValueError: the lengths differ.', 'ValueError', shorten_values),
    Crash('missing parenthesis', 'SyntaxError: a parenthesis is missing.', 'SyntaxError', drop_parenthesis),
    Crash('missing import', 'NameError: the import is missing.', 'NameError', drop_import),
)
