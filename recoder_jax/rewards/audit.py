"""What the answers of a judge to charts damaged on purpose say about the judge.

A specimen is a chart with one damage of one strength; strength 0 is the chart itself. Within one chart and one damage the score
should fall as the strength rises.
"""

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from scipy import stats

from recoder_jax.rewards.judge import ITEMS, Judgement

INTACT = 'none'
SYMMETRIC = tuple(item for item in ITEMS if item.name != 'clarity')      # items that ask the same of both images


@dataclass(frozen=True, eq=False)
class Specimen:
    """damage: INTACT for strength 0. rule: low-level score against the chart, None where there is no program."""

    chart: str
    damage: str
    strength: int
    reference: np.ndarray
    image: np.ndarray
    rule: float | None = None


@dataclass(frozen=True)
class Answer:
    """What the judge said of a specimen: at first, when asked again, and with the images the other way round."""

    specimen: Specimen
    first: Judgement
    again: tuple[Judgement, ...] = ()
    swapped: Judgement | None = None


@dataclass(frozen=True)
class DamageResult:
    """means: score by strength from 0. rules: mean rule score likewise, () without programs. pairs: compared within a chart.
    right, ties: shares of pairs in which the less damaged has the higher, or an equal score. tau: mean over charts of Kendall's tau-b
    of score and weakness of the damage, 1 where the order is right; a chart whose scores are all equal counts as 0."""

    damage: str
    means: tuple[float, ...]
    rules: tuple[float, ...]
    pairs: int
    right: float
    ties: float
    tau: float


@dataclass(frozen=True)
class Audit:
    """The findings. None where nothing was asked that could tell.

    right, ties, tau: as in DamageResult, over all damages. blank_lowest: share of charts whose blank page scores below all else.
    spread: mean standard deviation of repeated answers. widest: their widest range. repeated: specimens asked more than once.
    position: mean of score minus score of swapped images, on the items that ask the same of both; position_size: of its size.
    values: distinct first scores. commonest: share of the most frequent one. rule_rank: Spearman correlation with the rule score.
    seconds, prompt_tokens, reply_tokens: means a question. failures: by kind.
    """

    charts: int
    asked: int
    answered: int
    failures: dict[str, int]
    damages: tuple[DamageResult, ...]
    right: float | None
    ties: float | None
    tau: float | None
    blank_lowest: float | None
    repeated: int
    spread: float | None
    widest: float | None
    position: float | None
    position_size: float | None
    values: int
    commonest: float
    rule_rank: float | None
    seconds: float
    prompt_tokens: float
    reply_tokens: float

    def to_json(self) -> dict:
        return asdict(self) | {'checks': [asdict(check) for check in self.checks()]}

    def checks(self) -> list['Check']:
        """The questions an audit is made for, with bounds of ours. One that could not be asked is left out."""
        found = [
            Check('orders damages rightly (share of pairs)', self.right, '>=', 0.8),
            Check('agrees with the strength of damages (Kendall tau)', self.tau, '>=', 0.6),
            Check('puts the blank page last (share of charts)', self.blank_lowest, '>=', 0.95),
            Check('answers alike when asked again (standard deviation)', self.spread, '<=', 0.03),
            Check('does not mind the order of the images (mean size of the difference)', self.position_size, '<=', 0.05),
            Check('does not give one value to all (share of the commonest)', self.commonest, '<=', 0.5),
            Check('agrees with the rule score (Spearman)', self.rule_rank, '>=', 0.3),
        ]
        return [check for check in found if check.value is not None]


@dataclass(frozen=True)
class Check:
    """One question: a value and the bound within which the judge is fit."""

    name: str
    value: float
    relation: str
    bound: float

    @property
    def holds(self) -> bool:
        return self.value >= self.bound if self.relation == '>=' else self.value <= self.bound


def audit(answers: Sequence[Answer]) -> Audit:
    """The findings of all answers; ValueError when the judge answered nothing."""
    everything = [j for answer in answers for j in (answer.first, *answer.again, answer.swapped) if j is not None]
    given = [judgement for judgement in everything if judgement.score is not None]
    if not given:
        raise ValueError(f'the judge answered none of {len(everything)} questions, the first for this reason: '
                         f'{everything[0].failure if everything else "none was asked"}')
    heard = [answer for answer in answers if answer.first.score is not None]
    scores = [answer.first.score for answer in heard]
    damages = tuple(_of_damage(heard, name) for name in dict.fromkeys(a.specimen.damage for a in heard) if name != INTACT)
    pairs = sum(damage.pairs for damage in damages)
    repeats = [np.array([j.score for j in (answer.first, *answer.again)]) for answer in heard
               if answer.again and all(j.score is not None for j in answer.again)]
    turned = [_symmetric(a.first) - _symmetric(a.swapped) for a in heard if a.swapped is not None and a.swapped.score is not None]
    return Audit(
        charts=len({answer.specimen.chart for answer in answers}), asked=len(everything), answered=len(given),
        failures=dict(Counter(judgement.kind.value for judgement in everything if judgement.kind)), damages=damages,
        right=_mean([damage.right for damage in damages], [damage.pairs for damage in damages]) if pairs else None,
        ties=_mean([damage.ties for damage in damages], [damage.pairs for damage in damages]) if pairs else None,
        tau=_mean([damage.tau for damage in damages], [damage.pairs for damage in damages]) if pairs else None,
        blank_lowest=_blank_lowest(heard), repeated=len(repeats),
        spread=_mean([values.std() for values in repeats]), widest=max((float(np.ptp(values)) for values in repeats), default=None),
        position=_mean(turned), position_size=_mean(np.abs(turned)),
        values=len(set(scores)), commonest=Counter(scores).most_common(1)[0][1] / len(scores) if scores else 1.0,
        rule_rank=_rank([(a.specimen.rule, a.first.score) for a in heard if a.specimen.rule is not None]),
        seconds=_mean([j.seconds for j in given]), prompt_tokens=_mean([j.prompt_tokens for j in given]),
        reply_tokens=_mean([j.reply_tokens for j in given]),
    )


def _of_damage(answers: Sequence[Answer], name: str) -> DamageResult:
    right = ties = pairs = 0
    taus, by_strength, rules = [], {}, {}
    for chart in dict.fromkeys(answer.specimen.chart for answer in answers if answer.specimen.damage == name):
        series = [a for a in answers if a.specimen.chart == chart and a.specimen.damage in (name, INTACT)]
        for answer in series:
            by_strength.setdefault(answer.specimen.strength, []).append(answer.first.score)
            rules.setdefault(answer.specimen.strength, []).append(answer.specimen.rule)
        graded = [(a.specimen.strength, a.first.score) for a in series]
        for (weak, high), (strong, low) in itertools.combinations(sorted(graded), 2):
            if weak < strong:
                pairs, right, ties = pairs + 1, right + (high > low), ties + (high == low)
        taus.append(order_agreement(graded))
    means = tuple(float(np.mean(by_strength[strength])) for strength in sorted(by_strength))
    known = all(rule is not None for values in rules.values() for rule in values)
    rule_means = tuple(float(np.mean(rules[strength])) for strength in sorted(rules)) if known else ()
    return DamageResult(name, means, rule_means, pairs, right / max(1, pairs), ties / max(1, pairs), float(np.mean(taus)))


def order_agreement(graded: Sequence[tuple[int, float]]) -> float:
    """Kendall's tau-b of score and weakness of the damage, over (strength, score); 0 where either is the same throughout."""
    strengths, scores = zip(*graded)
    if len(set(scores)) < 2 or len(set(strengths)) < 2:
        return 0.0
    return -float(stats.kendalltau(strengths, scores).statistic)


def _rank(pairs: Sequence[tuple[float, float]]) -> float | None:
    """Spearman's correlation; 0 where one side is constant, None without pairs."""
    if len(pairs) < 2:
        return None
    first, second = zip(*pairs)
    if len(set(first)) < 2 or len(set(second)) < 2:
        return 0.0
    return float(stats.spearmanr(first, second).statistic)


def _blank_lowest(answers: Sequence[Answer]) -> float | None:
    lowest = []
    for blank in (answer for answer in answers if answer.specimen.damage == 'blank'):
        others = [a.first.score for a in answers if a.specimen.chart == blank.specimen.chart and a is not blank]
        if others:
            lowest.append(blank.first.score < min(others))
    return _mean(lowest)


def _symmetric(judgement: Judgement) -> float:
    """Share of the points of the items that ask the same of both images."""
    return sum(judgement.items[item.name] for item in SYMMETRIC) / sum(item.points for item in SYMMETRIC)


def _mean(values: Sequence[float], weights: Sequence[float] | None = None) -> float | None:
    return float(np.average(values, weights=weights)) if len(values) else None


def markdown(found: Audit, model: str) -> str:
    """The findings as a page of Markdown."""
    lines = [f'# Audit of the judge {model}', '', f'{found.charts} charts, {found.asked} questions, {found.answered} answered'
             + ''.join(f', {count} {kind}' for kind, count in found.failures.items()) + '.', '',
             '| check | value | bound | |', '|---|---|---|---|']
    lines += [f'| {check.name} | {check.value:.3f} | {check.relation} {check.bound:g} | {"yes" if check.holds else "**no**"} |'
              for check in found.checks()]
    most = max((len(damage.means) for damage in found.damages), default=1)
    lines += ['', 'Mean score by strength of a damage, in points; in brackets the rule score.', '',
              '| damage | ' + ' | '.join(map(str, range(most))) + ' | right | ties | tau |', '|---' * (most + 4) + '|']
    for damage in found.damages:
        rules = [f' ({100 * rule:.0f})' for rule in damage.rules] or [''] * len(damage.means)
        cells = [f'{100 * mean:.0f}{rule}' for mean, rule in zip(damage.means, rules)]
        cells += [''] * (most - len(cells))
        lines.append(f'| {damage.damage} | ' + ' | '.join(cells) + f' | {damage.right:.2f} | {damage.ties:.2f} | {damage.tau:.2f} |')
    lines += ['', f'{found.values} distinct scores, the commonest in {100 * found.commonest:.0f} % of the specimens.']
    if found.spread is not None:
        lines.append(f'{found.repeated} specimens were asked about again: standard deviation {found.spread:.3f}, '
                     f'widest range {found.widest:.3f}.')
    if found.position is not None:
        lines.append(f'With the images swapped the score is {found.position:+.3f} higher the first way round (items but clarity).')
    lines += [f'A question takes {found.seconds:.2f} s, {found.prompt_tokens:.0f} tokens of prompt and '
              f'{found.reply_tokens:.0f} of reply.', '']
    return '\n'.join(lines)
