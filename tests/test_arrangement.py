"""Runs stand as a chain or side by side as their configs say, and those that differ only in seed are one group."""

import json
from pathlib import Path
import re
import shutil
import subprocess

import pytest

from recoder_jax import report
from recoder_jax.configuration import defaults
from recoder_jax.runs.arrangement import Member, arrangement_of, common_name, differences, flatten, groups_of, names_of
from recoder_jax.runs.directory import RunDirectory
from recoder_jax.runs.records import AlarmRecord
from recoder_jax.runs.report import alarm_rows, curve_data, write_report
from tests.made_up_run import study
from tests.test_report import Page


def run_of(path, values=(), metrics=None, **config):
    """A run directory with the defaults but for some keys, and rewards by step."""
    run, settings = RunDirectory(path), defaults()
    settings.update({'name': path.name, **config})
    settings.update_from_flattened_dict(dict(values))
    run.write_config(settings.to_dict())
    for step, value in enumerate(metrics or [], start=1):
        run.write_metrics(step, {'reward/total': value, 'reward/equal_groups': 0.5})
    return run.path


def members(paths):
    return [Member(path, flatten(RunDirectory.existing(path).read_config())) for path in paths]


def test_stages_and_runs_that_start_from_another_are_a_chain_and_else_side_by_side(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sft, more = run_of(tmp_path / 'sft'), run_of(tmp_path / 'more', init='sft', data={'name': 'chart_world_corrections'})
    first = run_of(tmp_path / 'first', kind='rl', init='more')
    again = run_of(tmp_path / 'again', kind='rl', init='more', seed=1, rollout={'group': 16})
    second = run_of(tmp_path / 'second', kind='rl', init='first', rollout={'branch_turn': 1})
    other = run_of(tmp_path / 'other', rollout={'branch_turn': 1})
    assert arrangement_of(members([sft, more])) == arrangement_of(members([first, second])) == arrangement_of(members([more, first])) == 'chain'
    assert arrangement_of(members([first, again])) == arrangement_of(members([sft, other])) == 'overlay'      # sft reads no branch turn
    assert arrangement_of(members([first])) == arrangement_of([Member(first, {}), Member(again, {})]) == 'chain'


def test_runs_that_differ_only_in_seed_are_one_group_whatever_they_start_from(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    paths = []
    for seed in (0, 1):
        run_of(tmp_path / f'seed{seed}' / 'sft', seed=seed)
        paths.append(run_of(tmp_path / f'seed{seed}' / 'stage1', kind='rl', seed=seed + 5, init=f'seed{seed}/sft', data={'dir': f'data{seed}'}))
    paths.append(run_of(tmp_path / 'wide' / 'stage1', kind='rl', seed=5, init='seed0/sft', rollout={'group': 16}))
    run_of(tmp_path / 'long' / 'sft', steps=7)
    paths.append(run_of(tmp_path / 'long' / 'stage1', kind='rl', seed=5, init='long/sft'))
    groups = groups_of(members(paths))
    assert [group.runs for group in groups] == [(0, 1), (2,), (3,)] and groups[0].seeds == ('5', '6')
    assert [group.label for group in groups] == ['stage1', 'wide/stage1', 'long/stage1']
    assert differences(members(paths), groups) == [
        ('data.dir', ['data0, data1', 'data', 'data']), ('init', ['seed0/sft, seed1/sft', 'seed0/sft', 'long/sft']),
        ('rollout.group', ['8', '16', '8']), ('seed', ['5, 6', '5', '5'])]
    (tmp_path / 'seed0' / 'sft' / 'config.json').write_text('{')      # its place names it
    assert [group.runs for group in groups_of(members(paths))] == [(0,), (1,), (2,), (3,)]


@pytest.mark.parametrize(('names', 'label'), [
    (['clip_seed0', 'clip_seed1'], 'clip'), (['a/run', 'b/run'], 'run'), (['one'], 'one'), (['one', 'two'], 'one, two'), (['wide.lr-3.s1', 'wide.lr-3.s2'], 'wide lr 3'),
])
def test_a_group_is_called_what_its_runs_share(names, label):
    assert common_name(names) == label


def test_runs_are_named_by_as_much_of_their_path_as_tells_them_apart():
    assert names_of([Path('/a/x/run'), Path('/a/y/run')]) == ['x/run', 'y/run']
    assert names_of([Path('/a/x'), Path('/a/y')]) == ['x', 'y'] and names_of([Path('/a/x'), Path('/a/x')]) == ['x', 'x']


def test_side_by_side_all_runs_are_averaged_over_the_same_steps():
    rows = [{'step': step, 'a': float(step)} for step in range(1, 3_001)]
    assert curve_data(rows[:1_000], longest=3_000)['steps'] == curve_data(rows)['steps'][:500]


def test_alarms_of_a_name_are_one_row():
    rows = alarm_rows('run', [AlarmRecord(3, 'gap', 'one', False), AlarmRecord(4, 'judge', 'other', False), AlarmRecord(9, 'gap', 'last', True)])
    assert [(row.alarm, row.times, row.first, row.last, row.sentence, row.stopped) for row in rows] == [('gap', 2, 3, 9, 'last', True), ('judge', 1, 4, 4, 'other', False)]


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
    return study(tmp_path_factory.mktemp('study'), seeds=2, steps=4, charts=1, size=2, evaluated=8)


def test_the_page_says_how_runs_stand_what_differs_and_what_they_said_of_themselves(runs):
    page = Page(write_report(runs))
    assert json.loads(page.scripts['group-data']) == [{'label': 'plain', 'runs': [0, 1]}, {'label': 'clipped', 'runs': [2, 3]}]
    assert 'side by side, for they are one stage' in page.text and 'objective.clip_high' in page.text and 'The repeat rate rose' in page.text
    marks = json.loads(page.scripts['curve-data'])[0]['marks']
    assert [mark['step'] for mark in marks] == [1, 1, 2] and ['correction/repeat_rate'] in [mark['metrics'] for mark in marks]
    chained = Page(write_report(runs, arrangement='chain'))
    assert 'as a chain:' in chained.text and 'group-data' not in chained.scripts and 'The repeat rate rose' in chained.text
    with pytest.raises(ValueError, match='chain or overlay'):
        write_report(runs, arrangement='pile')


def test_the_door_takes_one_arrangement(runs, tmp_path, capsys):
    out = tmp_path / 'page.html'
    assert report.main([*map(str, runs), '--chain', '--out', str(out)]) == 0 and 'as a chain:' in Page(out).text
    assert report.main([*map(str, runs), '--overlay', '--out', str(out)]) == 0 and 'side by side:' in Page(out).text
    with pytest.raises(SystemExit):
        report.main([*map(str, runs), '--chain', '--overlay'])


ACTIONS = """
<script>
const slider = document.getElementById('smoothing');
slider.value = 0;
slider.dispatchEvent(new Event('input'));
const panel = document.querySelector('.panel');
const count = kind => panel.querySelectorAll(kind).length;
const drawn = `${count('.band')} bands, ${count('.seed')} seeds, ${count('.smooth')} bold, ${count('.raw')} raw, ${document.querySelectorAll('.mark').length} marks`;
document.body.replaceChildren(JSON.stringify([panel.querySelector('.legend').textContent, drawn]));
</script>
"""


@pytest.mark.skipif(shutil.which('chromium') is None, reason='no chromium on this machine to open the page in')
def test_a_group_is_drawn_as_its_mean_with_a_band_as_far_as_all_seeds_go(tmp_path):
    paths = [run_of(tmp_path / f'plain{seed}', kind='rl', seed=seed, metrics=values) for seed, values in enumerate(([1.0, 2.0, 3.0], [1.0, 4.0]))]
    paths.append(run_of(tmp_path / 'wide', kind='rl', rollout={'group': 16}, metrics=[1.0, 7.0, 5.0]))
    RunDirectory.existing(paths[0]).write_alarms([AlarmRecord(2, 'equal_groups', 'x', False)])
    page = write_report(paths, tmp_path / 'page.html')
    page.write_text(page.read_text() + ACTIONS)
    command = ['chromium', '--headless', '--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking',
               '--disable-component-update', '--disable-sync', f'--user-data-dir={tmp_path / "profile"}', '--dump-dom', page.as_uri()]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True).stdout
    # mean of 2 and 4 at step 2, where the shorter seed ends; their standard deviation is the root of 2
    assert json.loads(re.search(r'<body>(\[.*\])', shown)[1]) == ['plain0, plain13.00 ± 1.41wide5.00', '1 bands, 2 seeds, 2 bold, 1 raw, 1 marks']
