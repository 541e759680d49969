"""The audit of reward parts says what each part sees, how it orders damages and what it costs."""

import json

import numpy as np
import pytest
from PIL import Image

from recoder_jax import prepare, reward_audit
from recoder_jax.charts.sandbox import Limits, Sandbox
from recoder_jax.data.mpl_gallery import split_of
from recoder_jax.rewards.audit import INTACT
from recoder_jax.rewards.audit_damage import PROGRAM_DAMAGES
from recoder_jax.rewards.part_audit import NAMES, Pair, audit_parts, markdown, measure_pair
from recoder_jax.rewards.script_damage import SCRIPT_DAMAGES, damaged_scripts

SCRIPT = """import matplotlib.pyplot as plt
fig, (left, right) = plt.subplots(1, 2, figsize=(5, 2.5), layout='constrained')
left.plot([1, 2, 4, 3, 5, 2], marker='o', color='navy', label='growth')
left.scatter(range(6), [3, 1, 2, 5, 4, 4], c='teal', label='points')
left.set(title='Some lines', xlabel='time in days', ylabel='amount')
left.legend()
right.bar(['x', 'y', 'z'], [3, 4, 5], color=['maroon', 'green', 'navy'])
right.set_title('Some bars')
plt.show()"""
PLAIN = 'import matplotlib.pyplot as plt\nplt.plot([1, 2, 3])\nplt.savefig("saved.png")\n'
SEEN_BY = {'text': 'textual/texts', 'values': 'textual/data', 'layout': 'rule/layout', 'blank': 'similarity'}


@pytest.fixture(scope='module')
def gallery(tmp_path_factory):
    """A data set of two scripts, both in the test split."""
    source, out = tmp_path_factory.mktemp('source'), tmp_path_factory.mktemp('data')
    names = [name for number in range(60) if split_of(name := f'galleries/examples/lines/line_{number:02d}.py') == 'test'][:2]
    (source / 'galleries/examples/lines').mkdir(parents=True)
    for name, script in zip(names, (SCRIPT, PLAIN), strict=True):
        (source / name).write_text(script)
    assert prepare.main(['mpl_gallery', '--source', str(source), '--out', str(out), '--workers', '1', '--seconds', '60']) == 0
    return str(out)


def test_the_door_leaves_a_table_a_picture_and_every_pair(tmp_path):
    assert reward_audit.main(['--out', str(tmp_path), '--charts', '1', '--difficulties', '2', '0', '2']) == 0
    report = json.loads((tmp_path / 'audit.json').read_text())
    assert report['charts'] == 2 and report['pairs'] == len(report['measured']) > 30
    rows = {(row['damage'], row['strength']): row['means'] for row in report['rows']}
    assert set(rows[INTACT, 0].values()) == {1.0} and set(rows['blank', 1][name] for name in ('rule', 'similarity', 'textual')) == {0.0}
    assert rows['blank', 1]['language'] == 1 and rows['colour', 3]['attributes'] < 0.9
    assert report['blind']['attributes'] and set(report['blind']['language']) >= {'blank', 'data'}
    assert 'overlap' in report['blind']['rule'] and 'data' in report['blind']['rule'] and 'data' not in report['blind']['textual']
    assert 'colour' in report['blind']['textual'] and set(report['milliseconds']) == {'rule', 'textual', 'similarity', 'attributes', 'execution'}
    text = (tmp_path / 'audit.md').read_text()
    assert all(f'| {damage["damage"]} |' in text for damage in report['rows'])
    with Image.open(tmp_path / 'audit.png') as picture:
        assert picture.size[0] > 400


def test_scripts_of_the_gallery_have_tables_of_their_own(gallery, tmp_path):
    arguments = ['--charts', '1', '--workers', '1', '--difficulties', '0', '--gallery', gallery, '--gallery-charts', '2']
    assert reward_audit.main(['--out', str(tmp_path), *arguments]) == 0
    report = json.loads((tmp_path / 'audit.json').read_text())
    found = report.pop('gallery')
    assert set(found) == set(report) and found['charts'] == 2 and found['pairs'] == len(found['measured'])
    assert {pair['chart'].split('/')[0] for pair in report['measured']} == {'chart_world'}
    assert {pair['chart'].split('/')[0] for pair in found['measured']} == {'mpl_gallery'}
    rows = {(row['damage'], row['strength']): (row['pairs'], row['means']['similarity']) for row in found['rows']}
    assert rows[INTACT, 0] == (2, 1.0) and rows['blank', 1] == (2, 0.0) and rows['colour', 3][0] == 2
    assert rows['text', 1][0] == 1, 'a script without texts has none to damage'
    assert (tmp_path / 'audit.md').read_text().count('| blank | 1 |') == 2 and (tmp_path / 'gallery.png').stat().st_size > 10_000


@pytest.fixture(scope='module')
def damaged():
    """The executions of SCRIPT and of every damage of it: (damage, strength, program, execution)."""
    variants = [(INTACT, 0, SCRIPT), *damaged_scripts(SCRIPT)]
    with Sandbox(workers=1, limits=Limits(seconds=60)) as sandbox:
        executions = sandbox.execute_all([program for *_, program in variants])
    return [(*variant, execution) for variant, execution in zip(variants, executions, strict=True)]


@pytest.mark.parametrize('damage', SCRIPT_DAMAGES, ids=lambda damage: damage.name)
def test_damage_of_a_script_shows_and_grows_with_its_strength(damage, damaged):
    golden = damaged[0][3]
    chosen = [one for one in damaged if one[0] in (INTACT, damage.name)]
    assert [strength for _, strength, *_ in chosen] == list(range(damage.strengths + 1)) and all(one[3].ok for one in chosen)
    assert all(not np.array_equal(one[3].render, golden.render) for one in chosen[1:])
    if damage.name not in SEEN_BY:      # the more pixels differ, and the further
        falls = [-np.abs(one[3].render.astype(int) - golden.render).mean() for one in chosen]
    else:
        falls = [measure_pair('a', name, strength, (execution, golden), (program, SCRIPT)).values[SEEN_BY[damage.name]]
                 for name, strength, program, execution in chosen]
    assert falls == sorted(falls, reverse=True) and falls[-1] < falls[0]


def test_a_damage_that_gives_no_render_of_its_own_is_left_out(damaged):
    intact, colour, text = (next(one for one in damaged if one[0] == name) for name in (INTACT, 'colour', 'text'))
    variants = [(INTACT, 0, ''), ('colour', 1, ''), ('colour', 2, ''), ('colour', 3, ''), ('text', 1, ''), ('text', 2, '')]
    executions = [intact[3], colour[3], colour[3], intact[3], colour[3], text[3]]
    assert reward_audit.of_effect(executions, variants) == [0, 1, 4, 5]


@pytest.mark.parametrize(('arguments', 'words'), [
    (['--gallery', 'nowhere'], 'there is no data set'), (['--gallery', 'nowhere', '--gallery-charts', '0'], '--gallery-charts is 0'),
    (['--charts', '0'], '--charts is 0'), (['--workers', '0'], '--workers is 0'), (['--difficulties', '7'], 'difficulty'), (['--split', 'exam'], 'does not exist')])
def test_bad_input_ends_with_one_sentence_and_exit_code_2(arguments, words, tmp_path, capsys):
    assert reward_audit.main(['--out', str(tmp_path / 'out'), *arguments]) == 2
    error = capsys.readouterr().err.strip()
    assert words in error and '\n' not in error and 'Traceback' not in error


def pair(chart, damage, strength, value, **more):
    return Pair(chart, damage, strength, dict.fromkeys(NAMES, value) | more, {'rule': 0.001})


def test_means_ranks_and_blindness_are_those_of_the_definition():
    first = [pair('a', INTACT, 0, 1.0), pair('a', 'data', 1, 0.5), pair('a', 'data', 2, 0.5), pair('a', 'data', 3, 0.7), pair('a', 'text', 1, 1.0)]
    found = audit_parts([*first, pair('b', INTACT, 0, 0.9), pair('b', 'data', 3, 0.9, **{'textual/data': None})])
    means = {(row.damage, row.strength): (row.pairs, row.means['rule'], row.means['textual/data']) for row in found.rows}
    assert means == {(INTACT, 0): (2, 0.95, 0.95), ('data', 1): (1, 0.5, 0.5), ('data', 2): (1, 0.5, 0.5), ('data', 3): (2, 0.8, 0.7), ('text', 1): (1, 1.0, 1.0)}
    assert found.agreement['data']['rule'] == pytest.approx((1 / 30 ** 0.5 + 0) / 2) and found.agreement['text']['rule'] == 0
    assert found.blind['rule'] == ('text',) and found.milliseconds == {'rule': pytest.approx(1.0)} and found.charts == 2
    assert [row.damage for row in found.rows] == [INTACT, 'text', 'data', 'data', 'data'] and '| 0.70 |' in markdown(found)
    with pytest.raises(ValueError, match='no chart was damaged'):
        audit_parts(first[:1])


def test_damages_come_in_the_order_in_which_they_are_listed():
    pairs = [pair('a', INTACT, 0, 1.0), *(pair('a', damage.name, 1, 0.5) for damage in reversed(PROGRAM_DAMAGES))]
    assert list(audit_parts(pairs).agreement) == [damage.name for damage in PROGRAM_DAMAGES]


def test_more_scripts_than_the_gallery_has_is_bad_input(gallery, tmp_path, capsys):
    assert reward_audit.main(['--out', str(tmp_path / 'out'), '--gallery', gallery, '--gallery-charts', '3']) == 2
    assert 'the test split in' in capsys.readouterr().err and not (tmp_path / 'out').exists()
