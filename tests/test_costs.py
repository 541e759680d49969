"""What steps were spent on, and what they cost."""

import math

import pytest

from recoder_jax import report
from recoder_jax.runs.costs import Cost, cost_of, money, spending_of
from recoder_jax.runs.directory import RunDirectory
from recoder_jax.sampling.timeline import Span, spent


def row(step, **spent_on):
    parts = {'rollout': 0.0, 'update': 0.0, 'execute': 0.0, 'judge': 0.0, 'save': 0.0, 'idle': 0.0} | spent_on
    told = {f'time/spent_{part}': seconds for part, seconds in parts.items()}
    return {'step': step, 'time/step': sum(parts.values()) - parts['save'], 'process/devices': 4.0, 'sampling/tokens': 500.0} | told


def test_each_second_of_a_step_is_spent_once_and_the_device_comes_first():
    spans = [Span('decode', 1, 4), Span('execute', 3, 6), Span('execute', 5, 7), Span('judge', 2, 9), Span('read', 0.5, 1), Span('update', 10, 12)]
    assert spent(spans, 0, 13) == pytest.approx({'rollout': 3.5, 'update': 2, 'execute': 3, 'judge': 2, 'idle': 2.5})
    assert spent([], 2, 5) == {'rollout': 0, 'update': 0, 'execute': 0, 'judge': 0, 'idle': 3}


def test_device_hours_are_seconds_with_saving_times_the_devices_of_each_step():
    rows = [row(1, update=3600.0), row(2, update=1800.0, save=1800.0) | {'process/devices': 2.0}, {'step': 3, 'time/step': 9.0}, row(4, update=math.nan)]
    cost = cost_of(rows, rate=2.5)
    assert cost == Cost(steps=2, device_hours=6.0, money=15.0, tokens=1000.0)
    assert cost.step == 7.5 and cost.thousand_tokens == 15.0
    assert cost + cost == Cost(4, 12.0, 30.0, 2000.0)
    assert cost_of([], 1.0).step == 0.0 and cost_of([], 1.0).thousand_tokens is None
    assert [money(value) for value in (None, 0.0, 0.0125, 1234.5)] == ['–', '0.00', '0.0125', '1,234.50']


def test_columns_are_as_high_as_their_seconds_and_the_first_step_does_not_set_the_scale():
    spending = spending_of([row(1, update=50.0), row(2, rollout=6.0, idle=2.0), row(3, rollout=3.0, idle=1.0), {'step': 4}])
    assert spending.tallest == 8.0 and spending.steps == ((1, 1), (2, 2), (3, 3))
    heights = [[bar.height for bar in column if bar.height] for column in spending.columns]
    assert heights == [[100.0], [75.0, 25.0], [37.5, 12.5]]
    assert [(part, seconds) for part, _, seconds, _ in spending.totals] == [('rollout', 3.0), ('update', pytest.approx(50 / 3)), ('idle', 1.0)]
    assert sum(share for *_, share in spending.totals) == pytest.approx(1)
    assert len(spending_of([row(step, update=1.0) for step in range(1, 1000)]).columns) <= 120
    assert spending_of([{'step': 1, 'time/step': 2.0}]) is None


def test_the_page_says_what_a_run_cost_at_a_rate(tmp_path, capsys):
    run = RunDirectory(tmp_path / 'run')
    for number in (1, 2):
        run.write_metrics(number, {name: value for name, value in row(number, rollout=1200.0, idle=600.0).items() if name != 'step'})
    assert report.main([str(run.path), '--rate', '3']) == 0
    assert 'run: 4.00 device-hours of 2 steps cost 12.00, 6.00 a step' in capsys.readouterr().out
    page = (run.path / 'report.html').read_text()
    assert '<td>12.00</td><td>6.00</td><td>12.00</td>' in page and page.count('class="rollout" style') == 2
    assert report.main([str(run.path)]) == 0
    assert 'id="cost"' not in (run.path / 'report.html').read_text()
    for wrong in ('0', 'nan', '-2', 'inf'):
        assert report.main([str(run.path), f'--rate={wrong}']) == 2
        assert 'give what an hour of one device costs' in capsys.readouterr().err
