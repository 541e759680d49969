"""Alarms begin when a run goes wrong as they say, are given once, and noise does not give them."""

import json

import numpy as np
import pytest

from recoder_jax import watching
from recoder_jax.configuration import defaults
from recoder_jax.doors import Ended, door
from recoder_jax.runs.alarms import RULES, Alarms, Choices, History, metrics_of
from recoder_jax.runs.directory import RunDirectory
from recoder_jax.runs.records import AlarmRecord
from recoder_jax.watching import Watch, stop_on

STEPS = 120
# A run in which nothing is wrong: name -> (mean, spread of the noise).
SOUND = {
    'correction/repeat_rate': (0.3, 0.06), 'turn1/total': (0.5, 0.05), 'turn2/total': (0.55, 0.05), 'reward/total': (0.55, 0.05), 'reward/format': (0.95, 0.03),
    'judge/spread': (0.15, 0.04), 'sampling/logprob_gap': (0.012, 0.003), 'loss/entropy': (0.8, 0.08), 'reward/equal_groups': (0.3, 0.1),
}


def history(changes=None, steps=STEPS, seed=0, noise=1.0, rho=0.0):
    """Rows of a sound run, but for changes: name -> what its values are at step t in 0..1 of the run, a function of the sound mean and t.

    rho: correlation of the noise of neighbouring steps.
    """
    rng, rows, off = np.random.default_rng(seed), [], dict.fromkeys(SOUND, 0.0)
    for step in range(1, steps + 1):
        row = {'step': step}
        for name, (mean, spread) in SOUND.items():
            change = (changes or {}).get(name)
            off[name] = rho * off[name] + np.sqrt(1 - rho**2) * noise * spread * rng.normal()
            row[name] = (change(mean, step / steps) if change else mean) + off[name]
        rows.append(row)
    return rows


def given(rows, **choices):
    alarms = Alarms(Choices(**choices))
    return [alarm for row in rows for alarm in alarms.see(row)]


def late(value, since=0.5):
    return lambda mean, t: mean if t < since else value


def slowly(value):
    return lambda mean, t: mean + (value - mean) * t


WRONG = {
    'repeat': {'correction/repeat_rate': slowly(0.9)},
    'sandbagging': {'turn1/total': slowly(0.3), 'turn2/total': slowly(0.7)},
    'sandbagging, the last turn holds': {'turn1/total': slowly(0.03)},
    'format': {'reward/format': late(0.4)},
    'judge': {'judge/spread': late(0.0)},
    'gap': {'sampling/logprob_gap': late(0.1)},
    'entropy': {'loss/entropy': slowly(0.05)},
    'equal_groups': {'reward/equal_groups': late(0.97)},
}
# Changes that look alike and are none of these.
RIGHT = {
    'repeat': {'correction/repeat_rate': slowly(0.05)},
    'sandbagging': {'turn1/total': slowly(0.7), 'turn2/total': slowly(0.9)},
    'both turns fall': {'turn1/total': slowly(0.3), 'turn2/total': slowly(0.35)},
    'the first turn falls most': {'turn1/total': slowly(0.3), 'turn2/total': slowly(0.48)},
    'format': {'reward/format': slowly(1.0)},
    'judge': {'judge/spread': late(0.05)},
    'gap': {'sampling/logprob_gap': late(0.024)},
    'entropy': {'loss/entropy': slowly(0.4)},
    'equal_groups': {'reward/equal_groups': slowly(0.7)},
}


@pytest.mark.parametrize('name', WRONG)
def test_an_alarm_begins_once_and_says_numbers_and_steps(name):
    rows = history(WRONG[name], noise=0.3)
    (alarm,) = given(rows)
    name = name.split(',')[0]
    assert alarm.alarm == name and not alarm.stopped and 20 < alarm.step <= STEPS
    assert sum(character.isdigit() for character in alarm.sentence) > 4 and 'look ' in alarm.sentence and '\n' not in alarm.sentence
    assert ' to ' in alarm.sentence and f'{alarm.step}' in alarm.sentence      # the window ends with the step that set it off
    assert given(rows, **{name: 'off'}) == []
    assert given(rows, **{name: 'stop'})[0].stopped


@pytest.mark.parametrize('name', RIGHT)
def test_changes_that_are_no_harm_give_no_alarm(name):
    assert given(history(RIGHT[name], noise=0.3)) == []


@pytest.mark.parametrize('seed', range(8))
@pytest.mark.parametrize(('window', 'rho'), [(4, 0.0), (20, 0.0), (20, 0.5)])
def test_noise_gives_no_alarm(seed, window, rho):
    assert given(history(seed=seed, steps=300, rho=rho), window=window) == []


def test_one_step_alone_is_no_jump_of_the_gap():
    rows = history()
    rows[80]['sampling/logprob_gap'] = 3.0
    assert given(rows) == []
    exact = history({'sampling/logprob_gap': late(9e-6)}, noise=0.0)      # of float32: nine times nothing is nothing
    for row in exact[:60]:
        row['sampling/logprob_gap'] = 1e-6
    assert given(exact) == []


def test_an_alarm_is_given_again_only_after_it_went_away():
    def equal(*pieces):
        values = [value for value, count in pieces for _ in range(count)]
        return [alarm.step for alarm in given([{'step': step, 'reward/equal_groups': value} for step, value in enumerate(values, start=1)], window=4)]

    assert equal((1.0, 30)) == [4]
    assert equal((1.0, 10), (0.88, 10), (1.0, 10)) == [4]      # below where it begins, above where it ends
    assert equal((1.0, 10), (0.5, 10), (1.0, 10)) == [4, 24]


@pytest.mark.parametrize('changes', [{}, WRONG['gap'] | WRONG['equal_groups'] | WRONG['repeat']])
def test_alarms_rebuilt_from_the_rows_go_on_as_if_never_interrupted(changes):
    rows = history(changes)
    whole = given(rows)
    for cut in (1, 30, 70, 100):
        resumed = Alarms(Choices(), rows[:cut])
        assert [alarm for row in rows[cut:] for alarm in resumed.see(row)] == [alarm for alarm in whole if alarm.step > cut]


def test_what_was_not_measured_gives_no_alarm():
    assert given([{'step': step, 'loss/total': 1.0} for step in range(1, 100)]) == []
    assert given([{'step': step, 'reward/equal_groups': float('nan')} for step in range(1, 100)]) == []
    sparse = [{'step': step, **({'reward/equal_groups': 1.0} if step % 2 else {})} for step in range(1, 100)]
    assert [alarm.step for alarm in given(sparse)] == [39]      # the twentieth that was measured


def test_a_history_keeps_the_last_steps_in_order():
    history = History(4)
    for step in range(1, 1001):
        history.add({'step': step, 'a': -step})
    kept = history.series('a')
    assert len(kept) == 200 and kept[:, 0].tolist() == list(range(801, 1001)) and (kept[:, 1] == -kept[:, 0]).all()


def test_every_alarm_has_a_choice_and_marks_the_metrics_it_looks_at():
    names = {rule.name for rule in RULES} | {'tampering'}
    assert names | {'window'} == set(defaults().alarms)
    assert Choices() == Choices(**defaults().alarms)
    assert all(metrics_of(name, 2) for name in names) and metrics_of('sandbagging', 3) == ('turn1/total', 'turn3/total') and metrics_of('other', 2) == ()


def rl_config(**alarms):
    config = defaults()
    config.kind = 'rl'
    config.alarms.update(alarms)
    return config


def played(run, config, rows, after=0, said=None):
    """Writes the rows behind `after` until an alarm ends the run; returns the step reached. said: takes what is said."""
    run.rewind(after)
    with Watch(run, config) as watch:
        for row in rows[after:]:
            metrics = {name: value for name, value in row.items() if name != 'step'}
            stop_on(watch.write(row['step'], metrics, ['a sign'] if row['step'] == 3 else (), [].append if said is None else said.append))
    return rows[-1]['step']


def test_alarms_are_kept_in_the_run_and_rewound_with_it(tmp_path):
    rows, run, said = history(WRONG['equal_groups']), RunDirectory(tmp_path), []
    played(run, rl_config(), rows, said=said)
    alarms = run.read_alarms()
    assert said[0] == ', step 3, alarm tampering: a sign' and len(said) == 2
    assert [alarm.alarm for alarm in alarms] == ['tampering', 'equal_groups'] and alarms[0] == AlarmRecord(3, 'tampering', 'a sign', False)
    lines = (tmp_path / 'alarms.jsonl').read_bytes()
    assert json.loads(lines.splitlines()[1])['step'] == alarms[1].step
    with open(tmp_path / 'alarms.jsonl', 'ab') as file:
        file.write(b'{"step": 4, "al')
    assert RunDirectory(tmp_path).read_alarms() == alarms
    played(RunDirectory(tmp_path), rl_config(), rows, after=40)
    assert (tmp_path / 'alarms.jsonl').read_bytes() == lines
    run.rewind(2)
    assert run.read_alarms() == []
    (tmp_path / 'alarms.jsonl').write_text('{"step": 1, "alarm": 3}\n{"step": 2}\n')
    with pytest.raises(ValueError, match='alarms.jsonl'):
        run.read_alarms()


def test_an_alarm_that_stops_ends_the_run_after_the_metrics_and_the_same_command_goes_past_it(tmp_path, capsys):
    rows, run, config = history(WRONG['equal_groups']), RunDirectory(tmp_path), rl_config(equal_groups='stop')
    assert door('train', lambda: played(run, config, rows)) == 1
    error = capsys.readouterr().err
    assert error.startswith('train: the alarm equal_groups ends the run at step ') and error.count('\n') == 1
    (stop,) = [alarm for alarm in run.read_alarms() if alarm.stopped]
    assert run.read_metrics()[-1]['step'] == stop.step
    before = (tmp_path / 'alarms.jsonl').read_bytes()
    assert played(run, config, rows, after=stop.step - 10) == STEPS      # from a checkpoint before the alarm
    assert (tmp_path / 'alarms.jsonl').read_bytes() == before
    with pytest.raises(Ended):
        stop_on([stop])


def test_supervised_runs_have_no_alarms(tmp_path):
    config, run = defaults(), RunDirectory(tmp_path)
    played(run, config, history(WRONG['entropy']))
    assert run.read_alarms() == []


def test_memory_is_measured_where_it_can_be(monkeypatch):
    class Device:
        def __init__(self, stats):
            self.memory_stats = lambda: stats

    metrics = watching.memory_metrics()
    assert 0.01 < metrics['process/memory_peak_gb'] < 1000
    monkeypatch.setattr(watching.jax, 'local_devices', lambda: [Device(None), Device({'peak_bytes_in_use': 3e9}), Device({'peak_bytes_in_use': 2e9})])
    assert watching.memory_metrics()['device/memory_peak_gb'] == 3.0
    monkeypatch.setattr(watching.jax, 'local_devices', lambda: [Device(None), Device({})])
    assert 'device/memory_peak_gb' not in watching.memory_metrics()
