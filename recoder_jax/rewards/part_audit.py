"""What each reward part sees: its value by kind and strength of a damage, whether it falls as the damage grows, what it costs.

A pair is a golden chart and a damaged version of it (`audit_damage`); strength 0 is the chart itself. A part is blind to a damage
when its mean hardly falls even at the greatest strength.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from recoder_jax.charts.execution import Execution
from recoder_jax.charts.scores import rule_score
from recoder_jax.dialogue.response import parse_response, write_response
from recoder_jax.languages.language import Language
from recoder_jax.rewards.attributes import attributes
from recoder_jax.rewards.audit import INTACT, order_agreement
from recoder_jax.rewards.audit_damage import PROGRAM_DAMAGES
from recoder_jax.rewards.similarity import similarity
from recoder_jax.rewards.textual import PARTS as TEXTUAL_PARTS
from recoder_jax.rewards.textual import textual_score

RULES = ('text', 'layout', 'chart_type', 'color')
MAIN = ('format', 'language', 'executed', 'rule', 'similarity', 'textual', 'attributes')
NAMES = (*MAIN, *(f'rule/{name}' for name in RULES), *(f'textual/{name}' for name in TEXTUAL_PARTS))
BLIND = 0.02               # a mean that falls by less is not seen; ours


@dataclass(frozen=True)
class Pair:
    """One damaged chart: values by part, None where a part could not be had; seconds by what was computed."""

    chart: str
    damage: str
    strength: int
    values: dict[str, float | None]
    seconds: dict[str, float]


@dataclass(frozen=True)
class DamageRow:
    """Means over the charts of one damage and strength; pairs: how many."""

    damage: str
    strength: int
    pairs: int
    means: dict[str, float | None]


@dataclass(frozen=True)
class PartAudit:
    """rows: by damage and strength, the intact chart first. agreement: damage -> part -> mean over charts of Kendall's tau-b between
    a part's value and the weakness of the damage. blind: part -> damages it does not see. milliseconds: mean cost a pair."""

    charts: int
    pairs: int
    rows: tuple[DamageRow, ...]
    agreement: dict[str, dict[str, float]]
    blind: dict[str, tuple[str, ...]]
    milliseconds: dict[str, float]


def measure_pair(chart: str, damage: str, strength: int, executions: tuple[Execution, Execution], programs: tuple[str, str]) -> Pair:
    """Every part of a damaged chart and its golden chart, each given as (damaged, golden). ValueError for a golden one without figure."""
    (damaged, golden), (program, golden_program) = executions, programs
    response = parse_response(write_response('a chart', program))
    start = time.perf_counter()
    rule = rule_score(damaged, golden)
    after_rule = time.perf_counter()
    textual = textual_score(damaged, golden, (program, golden_program))
    after_textual = time.perf_counter()
    alike = similarity(golden.render, damaged.render)
    after_similarity = time.perf_counter()
    shared = attributes(damaged, golden)
    end = time.perf_counter()
    values = {'format': float(response.well_formed), 'language': float(response.closed), 'executed': float(rule.executed), 'rule': rule.low_level,
              'similarity': alike, 'textual': textual.total, 'attributes': shared}
    values |= {f'rule/{name}': getattr(rule, name) for name in RULES} | {f'textual/{name}': getattr(textual, name) for name in TEXTUAL_PARTS}
    seconds = {'rule': after_rule - start, 'textual': after_textual - after_rule, 'similarity': after_similarity - after_textual,
               'attributes': end - after_similarity}
    return Pair(chart, damage, strength, values, seconds | {'execution': damaged.seconds})


def measure_picture(chart: str, damage: str, strength: int, executions: tuple[Execution, Execution], program: str, language: Language) -> Pair:
    """`measure_pair` in a language whose figures have no elements to compare: only the parts that need none."""
    damaged, golden = executions
    response = parse_response(write_response('a chart', program, language), language)
    start = time.perf_counter()
    alike = similarity(golden.render, damaged.render)
    seconds = {'similarity': time.perf_counter() - start, 'execution': damaged.seconds}
    values = {'format': float(response.well_formed), 'language': float(response.closed), 'executed': float(damaged.render is not None), 'similarity': alike}
    return Pair(chart, damage, strength, values, seconds)


def audit_parts(pairs: Sequence[Pair]) -> PartAudit:
    """The findings of all pairs; ValueError where no chart was damaged."""
    damages = [damage.name for damage in PROGRAM_DAMAGES if any(pair.damage == damage.name for pair in pairs)]
    if not damages:
        raise ValueError('no chart was damaged; give more charts')
    keys = sorted({(pair.damage, pair.strength) for pair in pairs}, key=lambda key: (-1 if key[0] == INTACT else damages.index(key[0]), key[1]))
    rows = []
    for key in keys:
        chosen = [pair for pair in pairs if (pair.damage, pair.strength) == key]
        rows.append(DamageRow(*key, len(chosen), {name: _mean(pair.values[name] for pair in chosen) for name in NAMES}))
    blind = {name: tuple(damage for damage in damages if _fall(pairs, damage, name) < BLIND) for name in NAMES}
    return PartAudit(
        charts=len({pair.chart for pair in pairs}), pairs=len(pairs), rows=tuple(rows), blind=blind,
        agreement={damage: {name: _agreement(pairs, damage, name) for name in NAMES} for damage in damages},
        milliseconds={name: 1e3 * _mean(pair.seconds[name] for pair in pairs) for name in pairs[0].seconds},
    )


def _mean(values: Iterable[float | None]) -> float | None:
    had = [value for value in values if value is not None]
    return float(np.mean(had)) if had else None


def _fall(pairs: Sequence[Pair], damage: str, name: str) -> float:
    """By how much a part is lower at the greatest strength than for the intact chart, over the charts that have the damage."""
    strongest = max(pair.strength for pair in pairs if pair.damage == damage)
    damaged = {pair.chart: pair.values[name] for pair in pairs if (pair.damage, pair.strength) == (damage, strongest)}
    intact = {pair.chart: pair.values[name] for pair in pairs if pair.damage == INTACT}
    return _mean(intact[chart] - value for chart, value in damaged.items() if None not in (value, intact.get(chart))) or 0.0


def _agreement(pairs: Sequence[Pair], damage: str, name: str) -> float:
    taus = []
    for chart in dict.fromkeys(pair.chart for pair in pairs if pair.damage == damage):
        graded = [(pair.strength, pair.values[name]) for pair in pairs if pair.chart == chart and pair.damage in (damage, INTACT)]
        graded = [(strength, value) for strength, value in graded if value is not None]
        taus.append(order_agreement(graded) if graded else 0.0)
    return float(np.mean(taus))


def markdown(found: PartAudit) -> str:
    """The findings as three tables of Markdown."""
    heads = ['format', 'language', 'executed', '**rule**', *RULES, '**similarity**', '**textual**', *(name.replace('_', ' ') for name in TEXTUAL_PARTS),
             '**attributes**']
    order = ['format', 'language', 'executed', 'rule', *(f'rule/{name}' for name in RULES), 'similarity', 'textual', *(f'textual/{name}' for name in TEXTUAL_PARTS),
             'attributes']
    heads = [head.replace('chart_type', 'type').replace('chart types', 'types').replace('color', 'colour') for head in heads]
    lines = [f'{found.charts} charts, {found.pairs} pairs. Means; `text` to `colour` are the parts of the rule, `types` to `data` those of textual.', '',
             '| damage | strength | pairs | ' + ' | '.join(heads) + ' |', '|---|' + '---:|' * (len(heads) + 2)]
    for row in found.rows:
        cells = ['' if row.means[name] is None else f'{row.means[name]:.2f}' for name in order]
        lines.append(f'| {row.damage} | {row.strength} | {row.pairs} | ' + ' | '.join(cells) + ' |')
    lines += ['', "Agreement with the strength: mean over charts of Kendall's tau-b, 1 where every stronger damage has the lower value, 0 where a part "
              'does not move.', '', '| damage | ' + ' | '.join(heads) + ' |', '|---|' + '---:|' * len(heads)]
    for damage, taus in found.agreement.items():
        lines.append(f'| {damage} | ' + ' | '.join(f'{taus[name]:.2f}' for name in order) + ' |')
    lines += ['', f'| part | does not see (its mean falls by less than {BLIND}) |', '|---|---|']
    lines += [f'| {name} | {", ".join(found.blind[name]) or "-"} |' for name in order]
    costs = [f'{name} {cost:.2f} ms' for name, cost in found.milliseconds.items()]
    return '\n'.join([*lines, '', 'Cost a pair: ' + ', '.join(costs) + '.', ''])
