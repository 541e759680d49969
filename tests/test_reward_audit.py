"""The audit of reward parts says what each part sees, how it orders damages and what it costs."""

import json

import pytest
from PIL import Image

from recoder_jax import reward_audit
from recoder_jax.rewards.audit import INTACT
from recoder_jax.rewards.audit_damage import PROGRAM_DAMAGES
from recoder_jax.rewards.part_audit import NAMES, Pair, audit_parts, markdown


def test_the_door_leaves_a_table_a_picture_and_every_pair(tmp_path):
    assert reward_audit.main(['--out', str(tmp_path), '--charts', '1', '--difficulties', '2', '0', '2']) == 0
    report = json.loads((tmp_path / 'audit.json').read_text())
    assert report['charts'] == 2 and report['pairs'] == len(report['measured']) > 30
    rows = {(row['damage'], row['strength']): row['means'] for row in report['rows']}
    assert set(rows[INTACT, 0].values()) == {1.0} and set(rows['blank', 1][name] for name in ('rule', 'similarity', 'textual')) == {0.0}
    assert 'overlap' in report['blind']['rule'] and 'data' in report['blind']['rule'] and 'data' not in report['blind']['textual']
    assert 'colour' in report['blind']['textual'] and set(report['milliseconds']) == {'rule', 'textual', 'similarity', 'execution'}
    text = (tmp_path / 'audit.md').read_text()
    assert all(f'| {damage["damage"]} |' in text for damage in report['rows'])
    with Image.open(tmp_path / 'audit.png') as picture:
        assert picture.size[0] > 400


@pytest.mark.parametrize(('arguments', 'words'), [
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
