"""Questions of benchmarks to a judge: Plot2Code's rating, ChartX's grade; what is missing is absent with the reason, and is asked for again."""

import base64
import json

import pytest

from recoder_jax import evaluate
from recoder_jax.charts.chart import Chart
from recoder_jax.data.builders import ChartRecord
from recoder_jax.data.building import Request, Tally, build
from recoder_jax.data.sources import open_charts
from recoder_jax.dialogue.encoder import Encoder, load_tokenizer
from recoder_jax.dialogue.images import ImageProcessor, decode_image
from recoder_jax.dialogue.response import parse_response, write_response
from recoder_jax.dialogue.turns import FOLLOW, REVISE, Prompts, opening
from recoder_jax.doors import Ended
from recoder_jax.evaluation.asking import ServerOptions
from recoder_jax.evaluation.blocks import Scored
from recoder_jax.evaluation.grading import graded, question_of
from recoder_jax.evaluation.papers import headline
from recoder_jax.evaluation.remote import Journal, Rules, play_remote
from recoder_jax.evaluation.tables import WRITERS, paper_tables
from recoder_jax.evaluation.writing import full_evaluation
from recoder_jax.rewards.judge import Judge, JudgeOptions
from recoder_jax.rewards.judge_forms import GRADE, RATING, grade_text
from recoder_jax.rollout.host import Speaker
from recoder_jax.runs.directory import RunDirectory
from recoder_jax.runs.records import Evaluation
from tests.conftest import image_of
from tests.fault_server import serving
from tests.scripted_server import answer, image_key

GOLDEN = "import matplotlib.pyplot as plt\nplt.figure(figsize=(2, 1))\nplt.plot([1, {n}])\nplt.title('T')\n"
BLANK = 'import matplotlib.pyplot as plt\nplt.figure(figsize=(2, 1))\n'
CHARTS = 3


@pytest.fixture(scope='module')
def benchmarks(tmp_path_factory):
    """Sets by the names of Plot2Code and ChartX, of charts that nobody published."""
    out = tmp_path_factory.mktemp('benchmarks')
    for name, extras in (('plot2code', ()), ('chartx', ('title', 'csv'))):
        charts = [Chart(f'{name}/{n}', image_of(n, 56, 84), GOLDEN.format(n=n + 2), ('rose', 'bar_chart')[n % 2], title=f'Title {n}', csv=f'x \\t {n}') for n in range(CHARTS)]
        build(Request(name, 'a', 'charts', {}, 'd', 'l', 'o', extras=extras), {'test': lambda charts=charts: (ChartRecord(chart, '', 'l', 'o') for chart in charts)}, Tally(), out)
    return out


def door(world, name, workdir, server, *more):
    return evaluate.main(['--config=configs/tiny/evaluate.py', f'--workdir={workdir}', f'--config.data.dir={world}', f'--config.evaluation.data={name}',
                          f'--config.evaluation.charts={CHARTS}', '--config.evaluation.turns=2', '--config.evaluation.max_pixels=78400', '--config.rollout.feedback_tokens=128',
                          '--config.sandbox.workers=1', f'--server={server.address}', '--model=scripted', '--config.judge.model=judge', '--config.judge.attempts=1', *more])  # fmt: skip


def speaking(world, name, judge):
    """What a server answers: the evaluated model's golden program, then an empty figure; and the judge's `judge(body)`."""
    charts = open_charts(world, name, 'test')
    answers = {image_key(chart.image): [write_response('', chart.program), write_response('', BLANK)] for chart in charts}
    return lambda body: judge(body) if body['model'] == 'judge' else answer(answers, body)


def text_of(body):
    return body['messages'][0]['content'][0]['text']


@pytest.fixture(scope='module')
def played(benchmarks, tmp_path_factory):
    """An evaluation of plot2code without a judge: its run, its charts and what was played."""
    workdir = tmp_path_factory.mktemp('played') / 'run'
    with serving([speaking(benchmarks, 'plot2code', None)]) as server:
        assert door(benchmarks, 'plot2code', workdir, server) == 0
    run = RunDirectory.existing(workdir)
    return run, open_charts(benchmarks, 'plot2code', 'test'), Scored(run.read_evaluation().results, tuple(run.read_rollouts(0)))


def asking(server, **more):
    return Judge(JudgeOptions(server.address, 'judge', attempts=1, concurrency=1, **more))


def test_without_a_judge_the_column_is_absent_and_the_reason_stands_below_the_table(played):
    run, _, _ = played
    evaluation = run.read_evaluation()
    assert evaluation.absent == {'rating': 'no judge was asked: judge.base_url and judge.policy are empty'}
    assert headline(evaluation.papers, 'turn 1').rating.value is None
    for name in ('tables.md', 'tables.tex', 'tables.json', 'evaluation.html'):
        text = (run.path / name).read_text()
        assert 'rating (1 to 10)' not in text and 'no judge was asked' in text


def test_a_rating_is_asked_of_what_is_not_white_and_stands_beside_pass_rate_and_text_match(played):
    run, charts, whole = played
    replies = iter(['It is alike. Rating: [[8]]', '**Rating: [[5]]**', 'Rating: [[8]]'])
    with serving([lambda body: next(replies)]) as server, asking(server) as judge:
        rated, absent = graded(whole, 'rating', judge, charts, run)
        asked = server.requests
    assert len(asked) == CHARTS and text_of(asked[0]) == RATING.text and 'response_format' not in asked[0]
    assert [part['type'] for part in asked[0]['messages'][0]['content']] == ['text', 'image_url', 'image_url'] and absent == {}
    assert sorted(result.rating[0] for result in rated.results) == [5, 8, 8] and {result.rating[1] for result in rated.results} == {None}
    evaluation = full_evaluation(rated.results, 'm', 'b', run.read_evaluation().card)
    first, last = (headline(evaluation.papers, choice) for choice in ('turn 1', 'last turn'))
    assert first.rating.value == pytest.approx(7) and first.rating.high <= 8 and (first.pass_rate.value, first.text_match.value) == (100, 100)
    assert last.rating.value is None and last.pass_rate.value == 0 and first.high_level.value is None
    table = WRITERS['md'](paper_tables([evaluation]))
    assert 'text match | rating (1 to 10) | benchmark' in table and '7.0 [5.0, 8.0]' in table and 'grade (0 to 5)' not in table
    assert Evaluation.from_json(json.loads(json.dumps(evaluation.to_json()))) == evaluation


def test_a_judge_that_talks_of_other_things_leaves_no_rating_and_no_zero(played):
    run, charts, whole = played
    replies = iter(['I like it.', 'Rating: [[3]]', 'Nine of ten.'])
    with serving([lambda body: next(replies)]) as server, asking(server) as judge:
        rated, absent = graded(whole, 'rating', judge, charts, run)
    assert 'the judge gave no rating for 2 of 3 turns (unusable 2; the first:' in absent['rating']
    assert sorted((result.rating[0] for result in rated.results), key=str) == [3, None, None]
    with serving([401]) as server, asking(server) as judge, pytest.raises(Ended, match=r'for 3 of 3 turns \(refused 3;') as ended:
        graded(whole, 'rating', judge, charts, run)
    assert ended.value.code == 75


def test_a_judge_in_this_process_is_asked_about_what_a_server_said(benchmarks, tmp_path):
    """The shipped policy judges, and talks of other things."""
    with serving([speaking(benchmarks, 'chartx', None)]) as server:
        more = ['--config.judge.policy=tiny', '--config.judge.reply_tokens=4', '--config.judge.batch=1', '--config.judge.attempts=1', '--config.evaluation.charts=1', '--config.evaluation.turns=1']
        assert door(benchmarks, 'chartx', tmp_path, server, *more) == 0
    evaluation = RunDirectory.existing(tmp_path).read_evaluation()
    assert 'no grade for 1 of 1 turns (unusable 1' in evaluation.absent['grade'] and evaluation.card.judge_model == 'tiny'


def test_chartx_grades_programs_by_type_and_a_judge_that_was_away_is_asked_for_what_is_missing_only(benchmarks, tmp_path, capsys):
    """The grade is of the program, against data, title and type of the chart; the same command goes on."""
    grades, down = {'rose': '4', 'bar_chart': 'Score: 1'}, [False, True]

    def judge(body):
        return 500 if down and down.pop(0) else next(reply for kind, reply in grades.items() if f'Type: {kind}\n' in text_of(body))

    with serving([speaking(benchmarks, 'chartx', judge)]) as server:
        options = [f'--config.judge.base_url={server.address}', '--config.judge.concurrency=1']
        assert door(benchmarks, 'chartx', tmp_path, server, *options) == 75
        assert f'the judge gave no grade for 1 of {2 * CHARTS} turns (broken 1; the first:' in capsys.readouterr().err and not (tmp_path / 'evaluation.json').exists()
        before = len(server.requests)
        assert door(benchmarks, 'chartx', tmp_path, server, *options) == 0
        assert [body['model'] for body in server.requests[before:]] == ['judge']
        asked = [body['messages'][0]['content'] for body in server.requests if body['model'] == 'judge']
    assert len(asked) == 2 * CHARTS + 1 and all(len(content) == 1 for content in asked)
    assert grade_text('x \\t 1', 'Title 1', 'bar_chart', GOLDEN.format(n=3).strip()) in {content[0]['text'].strip() for content in asked}
    evaluation = RunDirectory.existing(tmp_path).read_evaluation()
    assert headline(evaluation.papers, 'turn 1').grade.value == pytest.approx(3) and evaluation.absent == {} and evaluation.card.judge_model == 'judge'
    assert {row.value: row.grade.value for row in evaluation.breakdowns} == {'rose': pytest.approx(4), 'bar_chart': pytest.approx(1)}
    assert 'grade (0 to 5), last turn' in (tmp_path / 'tables.csv').read_text()


def test_an_instruction_is_asked_with_its_reference_and_the_target_stays_hidden(sandbox, tmp_path):
    """Direct charts open as ever; of a customized one the reference, the instruction and the own render are shown, and the score is against the target."""
    target, reference = image_of(1, 56, 84), image_of(2, 56, 56)
    asked = Chart('customized', target, GOLDEN.format(n=2), instruction='Draw [1, 2].', reference=reference)
    direct = Chart('direct', target, GOLDEN.format(n=2))
    with serving([write_response('', GOLDEN.format(n=2))]) as server:
        options = ServerOptions(server.address, 'm', temperature=0.0, response_tokens=64, concurrency=1)
        spoken, _ = play_remote(options, [asked, direct], Rules(2, seed=0, difference=True), sandbox, Journal(tmp_path / 'journal', 'a'))
        other = Chart('customized', target, GOLDEN.format(n=2), instruction='Draw [1, 9].', reference=reference)
        play_remote(options, [asked, other], Rules(2, seed=0, difference=True), sandbox, Journal(tmp_path / 'journal', 'a'))
        bodies = [[message['content'] for message in body['messages'] if message['role'] == 'user'] for body in server.requests]
    assert len(bodies) == 6 and all(turn.execution.ok for turns in spoken for turn in turns)      # another instruction is another dialogue
    first, second = (next(body for body in bodies if len(body) == 2 and ('Draw [1, 2].' in str(body)) == customized) for customized in (True, False))
    shown = [[image_key(decode_image(base64.b64decode(part['image_url']['url'].partition(',')[2]))) for part in content if part['type'] == 'image_url'] for content in first]
    texts = [[part['text'] for part in content if part['type'] == 'text'] for content in first]
    assert shown == [[image_key(reference)], [image_key(spoken[0][0].execution.render)]] and texts == [[f'Draw [1, 2].\n{FOLLOW}'], [REVISE]]
    assert second[0][1]['text'] == Prompts().draw and len(second[1]) == 3
    encoder = Encoder(load_tokenizer('tiny'), ImageProcessor(min_pixels=28 * 28, max_pixels=56 * 84))
    prompts = [encoder.prompt(opening(chart.shown, Prompts(), chart.instruction)) for chart in (asked, direct)]
    assert 'Draw [1, 2].' in encoder.decode(prompts[0].ids) and Prompts().draw in encoder.decode(prompts[1].ids)
    speaker, execution = Speaker(encoder, Prompts(), 2, 400, True), spoken[0][0].execution
    told = [encoder.decode(speaker.feedback(execution, parse_response(''), True, target, chart.instruction).ids) for chart in (asked, direct)]
    assert REVISE in told[0] and Prompts().compare in told[1]


@pytest.mark.parametrize('form, reply, points', [
    (RATING, 'Fine. Rating: [[10]] and Rating: [[2]]', {'rating': 10.0}), (RATING, 'Rating: [[0]]', None), (RATING, 'Rating: [[11]]', None), (RATING, 'Rating: 7', None),
    (GRADE, '3', {'grade': 3.0}), (GRADE, 'I give 4/5.', {'grade': 4.0}), (GRADE, 'nine', None), (GRADE, '', None),
])  # fmt: skip
def test_replies_are_read_as_the_benchmarks_read_them(form, reply, points):
    assert form.read(reply) == points
    assert points is None or form.known(json.loads(json.dumps(points))) == points
    assert form.known({form.name: 99}) is None and form.known({'data': 3}) is None and form.known({form.name: True}) is None


def test_the_question_follows_the_benchmark_unless_another_is_set(benchmarks, tmp_path, capsys):
    assert [question_of(name, 'benchmark') for name in ('plot2code', 'chartx/redrawing', 'chartmimic')] == ['rating', 'grade', '']
    assert question_of('plot2code', 'none') == '' and question_of('mpl_gallery', 'rating') == 'rating'
    with serving([speaking(benchmarks, 'plot2code', lambda body: '3')]) as server:
        assert door(benchmarks, 'plot2code', tmp_path / 'run', server, f'--config.judge.base_url={server.address}', '--config.evaluation.question=grade') == 2
    assert 'chart plot2code/0 holds no data to grade against' in capsys.readouterr().err
