"""build_corrections from the door: what is kept, what is dropped and why, what a second call asks for."""

import json

import numpy as np
import pytest

from recoder_jax import build_corrections
from recoder_jax.charts.chart import Chart
from recoder_jax.charts.elements import Elements
from recoder_jax.charts.execution import Execution, Status, failure
from recoder_jax.data.sources import open_charts, open_examples
from recoder_jax.dialogue.response import parse_response, write_response
from recoder_jax.evaluation.correcting import Pair, reason_to_drop, sample_record
from tests.fault_server import serving
from tests.scripted_server import answer, image_key

FLAWED = "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.title('Q')\n"
CRASH = 'import matplotlib.pyplot as plt\nplt.plot(x)\n'


def door(world, directory, server, *more):
    return build_corrections.main([
        '--config=configs/tiny/evaluate.py', '--data=chart_world', '--split=train[:8]', f'--out={directory}', f'--workdir={directory / "work"}',
        f'--server={server.address}', '--model=scripted', f'--config.data.dir={world}', '--config.evaluation.max_pixels=78400', '--name=pairs',
        '--config.rollout.feedback_tokens=128', '--config.evaluation.attempts=2', '--config.sandbox.workers=1', *more])  # fmt: skip


@pytest.fixture(scope='module')
def dialogues(world):
    """Image key -> responses of eight dialogues over the training charts."""
    charts = open_charts(world, 'chart_world', 'train')
    golden = [write_response(f'fixed {n}', charts[n].program) for n in range(8)]
    flawed, crash = write_response('first', FLAWED), write_response('', CRASH)
    turns = [[flawed, golden[0]], [crash, golden[1]], [golden[2], golden[2]], [golden[3], flawed], [flawed, crash], [flawed, 'nothing'], [flawed, golden[6]], [flawed, golden[7]]]
    return {image_key(charts[n].image): said for n, said in enumerate(turns)}


def test_what_rises_is_kept_and_the_rest_has_a_reason(world, dialogues, tmp_path, capsys):
    by_chart = {key: [key] for key in dialogues}
    late, refused = list(dialogues)[6:]

    def patient(body):
        return 400 if answer(by_chart, body) == refused else answer(dialogues, body)

    def lame(body):
        return 503 if answer(by_chart, body) == late and len(body['messages']) > 1 else patient(body)

    with serving([lame]) as server:
        assert door(world, tmp_path, server) == 75
    assert '1 of 8 dialogues could not be played (broken 1;' in capsys.readouterr().err and not (tmp_path / 'pairs').exists()
    with serving([patient]) as server:
        assert door(world, tmp_path, server) == 0
        assert len(server.requests) == 3      # both turns of the one that is missing, and the one that is refused
        assert door(world, tmp_path, server) == 0 and len(server.requests) == 3
    assert '3 dialogues stand already' in capsys.readouterr().out
    found = json.loads(next(tmp_path.glob('pairs/*/*/request.json')).read_text())
    assert found['counts'] == {'train': 3} and found['drops'] == {
        'the model gave no response: refused': 1, 'low-level rises by at most 0.02': 1, 'low-level falls': 1, 'turn 2 fails (error: NameError)': 1,
        'no program in turn 2': 1,
    }  # fmt: skip
    examples = open_examples(tmp_path, 'pairs', 'train')
    assert [parse_response(text).think for text in examples[0].responses] == ['first', 'fixed 0']
    assert parse_response(examples[0].responses[0]).program == FLAWED.strip() and examples[0].feedbacks[0][0] is not None
    assert 'NameError' in examples[1].feedbacks[0][1] and examples[1].feedbacks[0][0] is None
    page = (tmp_path / 'work' / 'samples.html').read_text()
    assert 'kept' in page and 'dropped: low-level falls' in page


def test_the_golden_program_follows_what_the_model_said_first(world, dialogues, tmp_path):
    with serving([lambda body: answer(dialogues, body)]) as server:
        assert door(world, tmp_path, server, '--second=golden') == 0
        assert len(server.requests) == 8      # one turn each
    charts, examples = open_charts(world, 'chart_world', 'train'), open_examples(tmp_path, 'pairs', 'train')
    found = json.loads(next(tmp_path.glob('pairs/*/*/request.json')).read_text())
    assert found['counts'] == {'train': 6} and found['drops'] == {'low-level rises by at most 0.02': 2}      # two were right at once
    seconds = [parse_response(example.responses[1]) for example in examples]
    assert [each.program for each in seconds] == [charts[n].program.strip() for n in (0, 1, 4, 5, 6, 7)]
    assert seconds[1].think == 'The program fails.' and seconds[0].think.endswith('The text is wrong.')
    assert 'NameError' in examples[1].feedbacks[0][1]


@pytest.mark.parametrize('program, golden, reason', [
    ('1 / 0', failure(Status.error, 'ZeroDivisionError: division by zero'), 'golden program: error: ZeroDivisionError'),
    ('"""\n```\n"""', Execution(Status.ok, np.zeros((8, 8, 3), np.uint8), Elements((), (), (), ()), '', 0.0), 'no program in turn 2'),
])  # fmt: skip
def test_a_golden_program_that_cannot_follow_drops_the_dialogue(program, golden, reason):
    chart, first = Chart('one', np.zeros((8, 8, 3), np.uint8), program, 'bar'), failure(Status.error, 'NameError: x')
    pair = Pair.of(chart, [write_response('first', FLAWED)]).with_golden(golden, first)
    assert reason_to_drop(pair, golden, first, golden) == reason
    assert [turn.program for turn in sample_record(pair, (golden, first, golden), lambda render: 'render').turns] == [FLAWED.strip()]


@pytest.mark.parametrize('more, part', [
    (['--policy=x'], 'give one of --server'), (['--name=a/b'], 'use letters'), (['--split=nowhere'], 'has no split'), (['--model='], 'go together'),
])  # fmt: skip
def test_bad_input_is_one_sentence(world, tmp_path, capsys, more, part):
    class Nobody:
        address = 'http://127.0.0.1:9/v1'

    assert door(world, tmp_path, Nobody, *more) == 2
    error = capsys.readouterr().err.strip()
    assert part in error and len(error.splitlines()) == 1
