"""Promises of the report, the dialogue page and their door."""

from html.parser import HTMLParser
import json
import re
import shutil
import subprocess
import sys

import pytest

from tests.made_up_run import chain, supervised_run
from recoder_jax import report
from recoder_jax.runs.directory import RunDirectory
from recoder_jax.runs.records import DialogueRecord, TurnRecord
from recoder_jax.runs.report import curve_data, duration, flatten, write_report
from recoder_jax.runs.viewer import Source, dialogue_data, pick_dialogues, same_text, tags_of, write_dialogue_page

HOSTILE = "print('</script><script>alert(1)</script><!-- <img src=x onerror=alert(2)> {{ 7 * 7 }} \\ud800')\n"


class Page(HTMLParser):
    """Scripts by id, tag counts and the text outside of scripts of a page."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.addresses, self.scripts, self.text = {}, [], {}, ''
        self.inside = None
        self.feed(path.read_text(encoding='utf-8'))

    def handle_starttag(self, tag, attributes):
        self.tags[tag] = self.tags.get(tag, 0) + 1
        attributes = dict(attributes)
        self.addresses += [value for name, value in attributes.items() if name in ('src', 'href') and value]
        if tag in ('script', 'style'):
            self.inside = attributes.get('id', tag)
            self.scripts.setdefault(self.inside, '')

    def handle_endtag(self, tag):
        if tag in ('script', 'style'):
            self.inside = None

    def handle_data(self, data):
        if self.inside is None:
            self.text += data
        else:
            self.scripts[self.inside] += data


def turn(number, status='ok', low_level=None, program='x = 1', **changes):
    parts = {} if low_level is None else {'low_level': low_level}
    fields = dict(turn=number, text=f'<think>a</think>\n```python\n{program}\n```', program=program, status=status, log='',
                  render=None, parts=parts, tokens=1, shared=False, advantage=None)
    return TurnRecord(**fields | changes)


def dialogue(*turns, **changes):
    fields = dict(step=1, chart='c/0', kind='bar', branch=0, branch_turn=1, golden='', target='t.png', reward=0.0, turns=turns)
    return DialogueRecord(**fields | changes)


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
    return chain(tmp_path_factory.mktemp('demo'), sft_steps=6, rl_steps=2, charts=1, size=2, evaluated=12)


def test_a_chain_becomes_one_page_without_addresses_outside(runs):
    out = write_report(runs, title='The <chain>')
    page = Page(out)
    assert out == runs[0].parent / 'report.html'
    assert all(address.startswith('#') for address in page.addresses)
    assert 'http' not in page.scripts['style'] and '@import' not in page.scripts['style']
    for name in ('sft', 'corrections', 'stage1', 'stage2'):
        assert name in page.text
    assert 'The <chain>' in page.text and 'average' in page.text and 'optimizer.lr' in page.text
    curves = json.loads(page.scripts['curve-data'])
    assert [len(stage['steps']) for stage in curves] == [6, 2, 2, 2]


def test_every_image_of_the_page_exists_beside_it(runs, tmp_path):
    out = write_report(runs, tmp_path / 'deep' / 'page.html') if (tmp_path / 'deep').mkdir() is None else None
    data = json.loads(Page(out).scripts['dialogue-data'])
    names = [(dialogue['run'], name) for dialogue in data['dialogues']
             for name in (dialogue['target'], *(turn['render'] for turn in dialogue['turns'])) if name]
    assert len(names) > 8
    for run, name in names:
        assert (out.parent / data['runs'][run]['renders'] / name).is_file()


def test_text_of_programs_logs_and_ids_cannot_leave_its_place(tmp_path):
    run = RunDirectory(tmp_path / 'run')
    run.write_config({'name': HOSTILE, 'seed': HOSTILE})
    bad = dialogue(turn(1, program=HOSTILE, log=HOSTILE, status='error'), golden=HOSTILE, chart=HOSTILE, kind=HOSTILE)
    run.write_rollouts(1, [bad])
    write_dialogue_page(tmp_path / 'one.html', bad, tmp_path, title=HOSTILE, facts={'image': HOSTILE})
    plain = supervised_run(tmp_path / 'plain', 1, 0, 1.0)
    clean = Page(write_report([plain.path]))
    for page in (Page(write_report([run.path], title=HOSTILE)), Page(tmp_path / 'one.html')):
        assert page.tags['script'] <= clean.tags['script'] and 'img' not in page.tags
        assert '{{ 7 * 7 }}' in page.text
        data = json.loads(page.scripts['dialogue-data'])
        assert HOSTILE in data['strings']


def test_a_page_is_written_where_text_has_no_utf8_form(tmp_path):
    write_dialogue_page(tmp_path / 'one.html', dialogue(turn(1, program='"\ud800"')), tmp_path, title='\ud800')
    assert json.loads(Page(tmp_path / 'one.html').scripts['dialogue-data'])['strings'][0] == '"\ud800"'


@pytest.mark.parametrize('turns, tags', [
    ((turn(1, low_level=0.5), turn(2, low_level=0.6, program='y')), ['improved']),
    ((turn(1, low_level=0.5), turn(2, low_level=0.4, program='y')), ['degraded']),
    ((turn(1, low_level=0.5), turn(2, low_level=0.5)), ['repeated']),
    ((turn(1, low_level=0.5), turn(2, 'error', 0.0, program='y')), ['crashed', 'degraded']),
    ((turn(1, 'error', 0.0), turn(2, low_level=0.4, program='y')), ['repaired']),
    ((turn(1, 'error', 0.0, program=None), turn(2, 'error', 0.0, program=None)), ['crashed']),
    ((turn(1, low_level=0.5), turn(2, 'error'), turn(3, low_level=0.9, program='y')), ['improved']),
    ((turn(1),), []), ((turn(1, 'timeout'),), ['crashed']), ((), []),
])
def test_a_dialogue_is_tagged_by_its_last_turn_against_its_first(turns, tags):
    assert tags_of(dialogue(*turns)) == tags


def test_equality_of_programs_is_what_the_caller_says():
    pair = dialogue(turn(1, program='x=1'), turn(2, program='x = 1'))
    assert tags_of(pair) == [] and tags_of(pair, lambda a, b: a.replace(' ', '') == b.replace(' ', '')) == ['repeated']
    assert same_text('a  \nb\n', '\na\nb') and not same_text('a', ' a b')


def test_dialogues_are_picked_as_whole_groups_spread_over_the_steps(tmp_path):
    run = RunDirectory(tmp_path)
    for step in range(1, 11):
        run.write_rollouts(step, [dialogue(turn(1), step=step, chart=f'c/{chart}', branch=branch) for chart in range(2) for branch in range(4)])
    picked, total = pick_dialogues(run, 20)
    assert total == 80 and len(picked) == 20
    assert [record.branch for record in picked] == list(range(4)) * 5
    steps = sorted({record.step for record in picked})
    assert len(steps) == 5 and steps[-1] - steps[0] >= 7
    assert len(pick_dialogues(run, 1000)[0]) == 80 and pick_dialogues(run, 0) == ([], 80)


def test_a_text_shared_by_dialogues_is_carried_once(tmp_path):
    records = [dialogue(turn(1, program='shared = 1'), golden='golden = 1', branch=branch) for branch in range(50)]
    strings = dialogue_data([Source('run', tmp_path, records)], tmp_path / 'page.html')['strings']
    assert strings.count('golden = 1') == 1 and len(strings) == 4


def test_a_response_is_put_together_again_from_its_parts(tmp_path):
    for each in (turn(1), turn(1, program=None, text='no program'), turn(1, text='rewritten by the parser', program='y')):
        data = dialogue_data([Source('run', tmp_path, [dialogue(each)])], tmp_path / 'page.html')
        shown, strings = data['dialogues'][0]['turns'][0], data['strings']
        whole = strings[shown['before']] + (strings[shown['program']] if shown['inside'] else '') + strings[shown['after']]
        assert whole == each.text


def test_long_curves_are_averaged_and_missing_or_infinite_values_left_out():
    rows = [{'step': step, 'a': float(step), **({'b': 1.0} if step % 3_000 == 0 else {})} for step in range(1, 6_001)]
    rows[0]['a'] = float('nan')
    curves = curve_data(rows)
    assert len(curves['steps']) == 1_500 and curves['steps'][-1] == 6_000
    assert curves['values']['a'][:2] == [3.0, 6.5] and curves['lost'] == {'a': 1}
    assert sum(value is not None for value in curves['values']['b']) == 2
    assert curve_data([])['steps'] == []


def test_durations_and_settings_read_well():
    assert [duration(each) for each in (None, 8.13, 200, 59.99, 7500)] == ['–', '8.1 s', '3 min 20 s', '60.0 s', '2 h 05 min']
    assert flatten({'a': {'b': 1, 'c': {}}, 'd': [1]}) == {'a.b': 1, 'a.c': {}, 'd': [1]}


def test_a_run_that_only_started_has_a_report(tmp_path):
    run = RunDirectory(tmp_path / 'run')
    run.write_config({'seed': 3})
    assert 'run' in Page(write_report([run.path])).text


def test_the_door_writes_the_page_and_says_where(runs, capsys):
    out = runs[0].parent / 'named.html'
    assert report.main([*map(str, runs), '--out', str(out), '--dialogues', '4']) == 0
    printed = capsys.readouterr().out.strip().splitlines()
    assert printed[-1] == str(out) and printed[0].startswith('|')
    assert 'low-level' in Page(out).text


@pytest.mark.parametrize('damage', ['absent', 'empty', 'metrics', 'rollouts', 'out', 'number'])
def test_the_door_refuses_bad_input_with_one_sentence(tmp_path, capsys, damage):
    run = supervised_run(tmp_path / 'run', 2, 0, 1.0)
    arguments = [str(run.path)]
    if damage == 'absent':
        arguments = [str(tmp_path / 'nothing')]
    elif damage == 'empty':
        (tmp_path / 'empty').mkdir()
        arguments = [str(tmp_path / 'empty')]
    elif damage == 'metrics':
        (run.path / 'metrics.jsonl').write_text('x\n{"step": 1}\n')
    elif damage == 'rollouts':
        (run.rollouts / 'step_000001.jsonl').write_text('{}\n')
    elif damage == 'number':
        arguments += ['--dialogues', '-1']
    else:
        arguments += ['--out', str(tmp_path / 'nowhere' / 'page.html')]
    assert report.main(arguments) == 2
    error = capsys.readouterr().err
    assert error.count('\n') == 1 and 'Traceback' not in error


ACTIONS = """
<script>
const said = [];
const say = () => said.push(document.querySelectorAll('.card').length + ' cards, ' + document.querySelectorAll('.column').length
  + ' columns, ' + document.querySelectorAll('.panel').length + ' panels, ' + document.querySelector('#pager .number').textContent);
const key = name => document.body.dispatchEvent(new KeyboardEvent('keydown', { key: name, bubbles: true }));
say();
key('ArrowRight'); say();
document.querySelector('.card').click(); say();
key('ArrowLeft'); say();
[...document.querySelectorAll('.codebar button')].find(button => button.textContent === 'program').click(); say();
key('Escape'); say();
document.querySelector('input[type=search]').value = 'absent';
document.querySelector('input[type=search]').dispatchEvent(new Event('input')); say();
toggleTheme();
document.body.replaceChildren(JSON.stringify(said));
</script>
"""


@pytest.mark.skipif(shutil.which('chromium') is None, reason='no chromium on this machine to open the page in')
def test_the_page_pages_opens_and_filters_in_a_browser(tmp_path):
    run = RunDirectory(tmp_path / 'run')
    for step in (1, 2):
        run.write_metrics(step, {'loss/total': 1.0 / step, 'reward/total': 0.5})
        run.write_rollouts(step, [dialogue(turn(1, low_level=0.5), turn(2, 'error', 0.0, program=f'x = {branch}'), step=step, branch=branch)
                                  for branch in range(8)])
    page = write_report([run.path])
    page.write_text(page.read_text() + ACTIONS)
    command = ['chromium', '--headless', '--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking',
               '--disable-component-update', '--disable-sync', f'--user-data-dir={tmp_path / "profile"}', '--dump-dom', page.as_uri()]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True).stdout
    said = json.loads(re.search(r'<body>(\[.*\])', shown)[1])
    assert said == ['12 cards, 0 columns, 2 panels, page 1 of 2', '4 cards, 0 columns, 2 panels, page 2 of 2',
                    '0 cards, 3 columns, 2 panels, 13 of 16', '0 cards, 3 columns, 2 panels, 12 of 16', '0 cards, 3 columns, 2 panels, 12 of 16',
                    '12 cards, 0 columns, 2 panels, page 1 of 2', '0 cards, 0 columns, 2 panels, page 1 of 1']


def test_runs_never_load_jax():
    code = ('import sys; from recoder_jax.runs import report, viewer; from recoder_jax.rewards import judge; '
            'from recoder_jax.evaluation import table, metrics; sys.exit("jax" in sys.modules)')
    assert subprocess.run([sys.executable, '-c', code]).returncode == 0
