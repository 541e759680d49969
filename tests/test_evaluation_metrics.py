"""Promises of the self-correction metrics and their table."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from recoder_jax.evaluation.metrics import (bootstrap_interval, correction_scores, evaluation_of, low_level_difference,
                                            paired_bootstrap, turns_of)
from recoder_jax.evaluation.table import results_table
from recoder_jax.runs.records import ChartResult, Evaluation


def result(chart, low, programs=None, **changes):
    fields = dict(chart=chart, kind='bar', executed=tuple(score > 0 for score in low), low_level=tuple(low),
                  programs=programs or tuple(f'{chart} {turn}' for turn in range(len(low))))
    return ChartResult(**fields | changes)


RESULTS = (
    result('improved', (0.5, 0.9)),
    result('crashed later', (0.8, 0.0)),
    result('repeated', (0.6, 0.6), ('x = 1', 'x=1')),
    result('exact', (0.7, 0.7), ('y', 'y')),
    result('no first program', (0.0, 1.0), (None, 'z')),
)


def same(first, second):
    return first.replace(' ', '') == second.replace(' ', '')


def test_corrections_count_only_charts_whose_first_program_executes():
    scores = correction_scores(RESULTS, 2, same)
    assert scores.charts == 4
    assert scores.average_improvement.value == pytest.approx(100 * (0.4 - 0.8) / 4)
    assert scores.improve_rate.value == 25 and scores.degrade_rate.value == 25
    assert scores.repeat_rate.value == 50 and scores.exact_rate.value == 25


def test_equality_is_asked_about_pairs_of_programs_only():
    results = [result('a', (0.5, 0.0), ('x', None)), result('b', (0.5, 0.5), ('x', 'y'))]
    asked = []
    correction_scores(results, 2, lambda *pair: asked.append(pair) or False)
    assert asked == [('x', 'y')]


def test_no_executed_first_program_gives_no_number():
    scores = correction_scores([result('a', (0.0, 1.0))], 2, same)
    assert scores.charts == 0 and scores.average_improvement.value is None


def test_means_are_over_all_charts_and_parts_not_measured_are_none():
    evaluation = evaluation_of(RESULTS, same, name='sft', benchmark='b', seeds={'sampling': 1})
    assert evaluation.turns[0].executed.value == 80 and evaluation.turns[0].text is None
    assert evaluation.turns[1].low_level.value == pytest.approx(100 * (0.9 + 0.6 + 0.7 + 1.0) / 5)
    assert evaluation.average_improvement == evaluation.corrections[0].average_improvement.value
    measured = [result('a', (0.5,), text=(0.25,)), result('b', (0.5,), text=(0.75,))]
    alone = evaluation_of(measured, same, name='', benchmark='', seeds={})
    assert alone.turns[0].text == 50 and alone.corrections == () and alone.average_improvement is None
    assert Evaluation.from_json(evaluation.to_json()) == evaluation


def test_wrong_results_are_refused_with_the_chart():
    with pytest.raises(ValueError, match='no chart'):
        turns_of([])
    with pytest.raises(ValueError, match='chart b has'):
        turns_of([result('a', (1.0,)), result('b', (1.0, 1.0))])
    with pytest.raises(ValueError, match='chart a appears twice'):
        turns_of([result('a', (1.0,)), result('a', (1.0,))])
    with pytest.raises(ValueError, match='turn 3 was not played'):
        correction_scores(RESULTS, 3, same)


def test_bootstrap_agrees_with_the_normal_interval():
    values = np.random.default_rng(1).normal(0.5, 0.2, 400)
    interval = bootstrap_interval(values)
    margin = 100 * 1.96 * values.std() / 20
    assert interval.value == pytest.approx(100 * values.mean())
    assert interval.low == pytest.approx(interval.value - margin, abs=0.1)
    assert interval.high == pytest.approx(interval.value + margin, abs=0.1)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.integers(0, 5))
def test_bootstrap_is_a_function_of_values_and_seed(values, seed):
    interval = bootstrap_interval(values, seed=seed, resamples=500)
    assert interval == bootstrap_interval(values, seed=seed, resamples=500)
    assert 100 * min(values) - 1e-9 <= interval.low <= interval.high <= 100 * max(values) + 1e-9


def test_pairing_narrows_the_interval_of_a_difference():
    rng = np.random.default_rng(2)
    before = rng.uniform(size=300)
    after = before + 0.03 + rng.normal(0, 0.02, 300)
    paired = paired_bootstrap(before, after)
    assert 2.5 < paired.low < paired.value < paired.high < 3.5
    unpaired = paired_bootstrap(before, rng.permutation(after))
    assert unpaired.high - unpaired.low > 5 * (paired.high - paired.low)


def test_evaluations_are_paired_by_chart_not_by_order():
    before = [result('a', (0.1, 0.2)), result('b', (0.5, 0.6))]
    after = [result('b', (0.6, 0.7)), result('a', (0.2, 0.3))]
    assert low_level_difference(before, after).high == pytest.approx(10)
    assert low_level_difference(before, after, 1, 1).low == pytest.approx(10)
    with pytest.raises(ValueError, match='2 charts are on one side only'):
        low_level_difference(before, [after[0], result('c', (1.0, 1.0))])


def test_table_has_a_row_for_each_evaluation_and_dashes_for_what_was_not_measured():
    two = evaluation_of(RESULTS, same, name='stage1', benchmark='b', seeds={})
    one = evaluation_of([result('a', (0.25,))], same, name='sft', benchmark='b', seeds={})
    lines = results_table([one, two]).splitlines()
    assert len(lines) == 4 and len({len(line) for line in lines}) == 1
    assert [cell.strip() for cell in lines[2].split('|')[1:-1]] == ['sft', '100.0', '–', '25.0', '–', '–', '–', '–', '–']
    assert '-10.0' in lines[3] and '25.0' in lines[3]
    assert '[' in results_table([two], intervals=True) and '|' not in results_table([two], markdown=False)
    with pytest.raises(ValueError, match='no evaluation'):
        results_table([])
