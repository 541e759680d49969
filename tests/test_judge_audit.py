"""The audit tells a fit judge from one that guesses, says one thing to all, or minds the order of the images."""

import base64
import dataclasses
import io
import json

import numpy as np
import pytest
from PIL import Image

from recoder_jax import judge_audit
from recoder_jax.data.chart_world import ChartWorld
from recoder_jax.rewards.audit import INTACT, Answer, Specimen, audit, markdown
from recoder_jax.rewards.audit_damage import IMAGE_DAMAGES, PROGRAM_DAMAGES, damaged_images, damaged_programs
from recoder_jax.rewards.judge import ITEMS, FailureKind, Judgement
from recoder_jax.rewards.judgement import failed
from recoder_jax.rewards.similarity import similarity
from tests.fault_server import serving

GUESSES = np.random.default_rng(0)


def images_of(body) -> list[np.ndarray]:
    urls = [part['image_url']['url'] for part in body['messages'][0]['content'][1:]]
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(',')[2])))) for url in urls]


def reply(share: float) -> str:
    return json.dumps({item.name: item.points * min(1.0, max(0.0, share)) for item in ITEMS})


def right(body):
    """Symmetric: the less alike either way round, the fewer points."""
    first, second = images_of(body)
    return reply((similarity(first, second) + similarity(second, first)) / 2)


def random(body):
    return reply(GUESSES.random())


def constant(body):
    return reply(0.8)


def biased(body):
    """Takes the second image for the better one the more ink it has."""
    first, second = ((image < 250).mean() for image in images_of(body))
    return reply(0.5 + 5 * float(second - first))


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Three charts as images."""
    folder = tmp_path_factory.mktemp('charts')
    for number in range(3):
        image = np.full((100, 140, 3), 255, np.uint8)
        image[8:90, 18:20] = image[88:90, 18:130] = image[2:6, 40:100:3] = 0
        for bar in range(4):
            image[88 - 12 * (1 + (bar + number) % 5):88, 28 + 25 * bar:44 + 25 * bar] = (200, 40 + 30 * number, 30)
        Image.fromarray(image).save(folder / f'{number}.png')
    return folder


def audited(judge, folder, out, *more):
    with serving([judge]) as server:
        arguments = ['--base-url', server.address, '--model', 'm', '--out', str(out), '--repeated', '6', *more]
        code = judge_audit.main([*arguments, '--images', str(folder)] if folder else arguments)
    assert code == 0
    report = json.loads((out / 'audit.json').read_text())
    with Image.open(out / 'audit.png') as picture:
        assert picture.size[0] > 400
    assert '| check |' in (out / 'audit.md').read_text()
    return report, {check['name'].split(' (')[0]: check['value'] for check in report['checks']}


def verdicts(report) -> set[str]:
    compare = {'>=': lambda check: check['value'] >= check['bound'], '<=': lambda check: check['value'] <= check['bound']}
    return {check['name'].split(' (')[0] for check in report['checks'] if not compare[check['relation']](check)}


ORDER, ALIKE, POSITION, ONE = ('orders damages rightly', 'answers alike when asked again', 'does not mind the order of the images',
                               'does not give one value to all')


def test_a_judge_that_is_right_passes(folder, tmp_path):
    report, _ = audited(right, folder, tmp_path)
    assert verdicts(report) == set() and report['right'] > 0.9 and report['spread'] < 1e-9 and report['blank_lowest'] == 1
    assert {damage['damage'] for damage in report['damages']} == {damage.name for damage in IMAGE_DAMAGES}
    assert all(damage['means'][0] == 1.0 and damage['rules'] == [] for damage in report['damages']) and report['rule_rank'] is None


def test_a_judge_that_guesses_is_found_out(folder, tmp_path):
    report, _ = audited(random, folder, tmp_path)
    assert {ORDER, ALIKE} <= verdicts(report) and 0.3 < report['right'] < 0.7 and abs(report['tau']) < 0.4 and report['spread'] > 0.1


def test_a_judge_that_says_one_thing_to_all_is_found_out(folder, tmp_path):
    report, _ = audited(constant, folder, tmp_path)
    assert {ORDER, ONE} <= verdicts(report) and ALIKE not in verdicts(report)
    assert report['values'] == 1 and report['commonest'] == 1 and report['ties'] == 1 and report['tau'] == 0


def test_a_judge_that_minds_the_order_is_found_out(folder, tmp_path):
    report, _ = audited(biased, folder, tmp_path)
    assert {ORDER, POSITION} <= verdicts(report) and ALIKE not in verdicts(report)


def test_charts_of_the_world_are_damaged_as_programs_and_compared_with_the_rule_score(tmp_path):
    report, values = audited(right, None, tmp_path, '--charts', 'chart_world:test[:1]', '--repeated', '4', '--repeats', '2')
    assert {damage['damage'] for damage in report['damages']} | {'ticks'} == {damage.name for damage in PROGRAM_DAMAGES}
    rules = {damage['damage']: damage['rules'] for damage in report['damages']}
    assert rules['overlap'] == [1.0] * 4 and rules['data'] == [1.0] * 4      # what the rule score is blind to
    assert rules['blank'][1] < rules['type'][1] < 1 and report['rule_rank'] > 0.2 and report['repeated'] == 4
    assert report['charts'] == 1 and report['servers'][0]['failed'] == 0


@pytest.mark.parametrize(('arguments', 'words'), [
    (['--images', 'nowhere'], 'no directory'), (['--charts', 'chartmimic:test'], 'write chart_world:SPLIT'), (['--charts', 'chart_world:test:0'], 'no chart'),
    (['--charts', 'chart_world:exam'], 'does not exist'), (['--charts', 'chart_world:test', '--difficulty', '9'], 'difficulty'),
    (['--images', '.', '--repeats', '0'], '--repeats is 0'), (['--images', 'EMPTY'], 'holds no chart'), (['--images', 'BROKEN'], 'cannot be read'),
    (['--images', '.', '--base-url', 'nowhere'], 'not a URL'), (['--images', '.', '--seconds', '0'], 'seconds'), (['--images', 'DEAD'], 'answered none'),
])
def test_bad_input_ends_with_one_sentence_and_exit_code_2(arguments, words, folder, tmp_path, capsys, monkeypatch):
    for name in ('EMPTY', 'BROKEN'):
        (tmp_path / name).mkdir()
    (tmp_path / 'BROKEN' / 'a.png').write_bytes(b'no image')
    Image.new('RGB', (50, 50), 'white').save(tmp_path / 'EMPTY' / 'a.png')
    arguments = [str(folder) if word == 'DEAD' else str(tmp_path / word) if word in ('EMPTY', 'BROKEN') else word for word in arguments]
    with serving([401]) as server:
        assert judge_audit.main(['--base-url', server.address, '--model', 'm', '--out', str(tmp_path / 'out'), *arguments]) == 2
    error = capsys.readouterr().err.strip()
    assert words in error and '\n' not in error and 'Traceback' not in error


@pytest.mark.parametrize('arguments', [[], ['--images', 'a', '--charts', 'b']])
def test_one_source_of_charts_is_asked_for(arguments, capsys):
    with pytest.raises(SystemExit) as end:
        judge_audit.main(['--base-url', 'http://a/v1', '--model', 'm', '--out', 'x', *arguments])
    assert end.value.code == 2


def answer_of(chart, damage, strength, score, **more):
    image = np.zeros((2, 2, 3), np.uint8)
    judgement = failed(FailureKind.timeout, 'late') if score is None else Judgement(score, {item.name: item.points * score for item in ITEMS})
    return Answer(Specimen(chart, damage, strength, image, image, more.pop('rule', None)), judgement, **more)


def test_shares_and_ranks_are_those_of_the_definition():
    answers = [answer_of('a', INTACT, 0, 1.0), *(answer_of('a', 'data', n, score) for n, score in ((1, 0.5), (2, 0.5), (3, 0.7)))]
    found = audit(answers)
    damage = found.damages[0]
    assert (damage.pairs, damage.right, damage.ties) == (6, 0.5, pytest.approx(1 / 6)) and damage.means == (1.0, 0.5, 0.5, 0.7)
    assert damage.tau == pytest.approx((3 - 2) / np.sqrt(6 * 5)) and found.values == 3 and found.commonest == 0.5


def test_failures_are_counted_and_left_out():
    answers = [answer_of('a', INTACT, 0, 1.0), answer_of('a', 'data', 1, None), answer_of('a', 'data', 2, 0.3, again=(failed(FailureKind.broken, 'x'),))]
    found = audit(answers)
    assert found.failures == {'timeout': 1, 'broken': 1} and (found.asked, found.answered) == (4, 2)
    assert found.damages[0].pairs == 1 and found.spread is None and 'timeout' in markdown(found, 'm')
    with pytest.raises(ValueError, match='answered none of 1 questions.*late'):
        audit([answer_of('a', INTACT, 0, None)])


def test_every_damage_of_the_world_is_done_somewhere_and_leaves_the_golden_program_alone():
    world, met = ChartWorld('test', 30, 2), set()
    for index in range(len(world)):
        before = dataclasses.replace(world[index])
        variants = damaged_programs(world[index])
        met |= {(name, strength) for name, strength, _ in variants}
        assert len({program for _, _, program in variants}) == len(variants) and world[index] == before
        for _, _, program in variants:
            compile(program, 'program', 'exec')
    assert met == {(damage.name, strength) for damage in PROGRAM_DAMAGES for strength in range(1, damage.strengths + 1)}


@pytest.mark.parametrize('shape', [(1, 1), (1, 9), (9, 1), (2, 2), (5, 3)])
def test_images_of_any_size_can_be_damaged(shape):
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    assert all(result.dtype == np.uint8 and result.ndim == 3 and result.size for _, _, result in damaged_images(image))
    assert damaged_images(np.full((6, 6, 3), 7, np.uint8)) == []
