"""Promises of `python -m recoder_jax.score`."""

import json

import pytest

from recoder_jax.score import main

CHART = 'import matplotlib.pyplot as plt\nplt.bar([1, 2], [3, 4])\nplt.title("sales")\nplt.savefig("c.png")\n'


@pytest.fixture
def files(tmp_path):
    programs = {'golden.py': CHART, 'other.py': CHART.replace('sales', 'costs'), 'broken.py': '1 / 0\n',
                'free.py': CHART.replace('plt.bar', 'plt.axes([0, 0, 1, 1]).bar')}
    for name, text in programs.items():
        (tmp_path / name).write_text(text)
    (tmp_path / 'latin.py').write_bytes(b'# \xe9\n')
    return lambda *names: [str(tmp_path / name) for name in names]


def run(capsys, arguments):
    code = main(arguments)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_a_program_scores_one_against_itself(files, capsys):
    code, out, _ = run(capsys, files('golden.py', 'golden.py'))
    assert code == 0 and json.loads(out) == {
        'text': 1.0, 'layout': 1.0, 'chart_type': 1.0, 'color': 1.0, 'low_level': 1.0, 'executed': True}
    assert len(out.splitlines()) == 1


def test_a_changed_title_costs_the_text_score(files, capsys):
    code, out, _ = run(capsys, [*files('other.py', 'golden.py'), '--mode', 'fixed'])
    assert code == 0 and json.loads(out)['text'] == 0 and json.loads(out)['low_level'] == 0.75


def test_the_mode_chartmimic_has_the_same_keys(files, capsys):
    code, out, _ = run(capsys, [*files('free.py', 'free.py'), '--mode', 'chartmimic'])
    assert code == 0 and json.loads(out) == {
        'text': 1.0, 'layout': 0.0, 'chart_type': 1.0, 'color': 1.0, 'low_level': 0.75, 'executed': True}


def test_a_generated_program_that_fails_scores_zero(files, capsys):
    code, out, err = run(capsys, files('broken.py', 'golden.py'))
    assert code == 0 and json.loads(out)['low_level'] == 0 and json.loads(out)['executed'] is False
    assert 'ZeroDivisionError' in err


@pytest.mark.parametrize('names, sentence', [
    (('none.py', 'golden.py'), 'none.py is not a file'), (('golden.py', 'latin.py'), 'latin.py is not UTF-8'),
    (('golden.py', 'broken.py'), 'the golden program gave no figure'), (('', 'golden.py'), 'is not a file')])
def test_bad_input_is_one_sentence_and_exit_code_two(files, capsys, names, sentence):
    code, out, err = run(capsys, files(*names))
    assert code == 2 and out == '' and sentence in err and 'File "' not in err


def test_an_unknown_mode_is_exit_code_two(files):
    with pytest.raises(SystemExit) as end:
        main([*files('golden.py', 'golden.py'), '--mode', 'strict'])
    assert end.value.code == 2
