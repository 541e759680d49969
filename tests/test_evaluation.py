"""Evaluation from the door: a model behind a server, replay, tables, the page; its failures; scores in the papers' forms."""

import csv
import io
import json
import shutil

import numpy as np
import pytest

from recoder_jax import evaluate
from recoder_jax.charts.chart import Chart
from recoder_jax.data.sources import open_charts
from recoder_jax.dialogue.response import write_response
from recoder_jax.evaluation import blocks
from recoder_jax.evaluation.asking import ServerOptions, WrongServer
from recoder_jax.evaluation.blocks import Scored, score_blocks
from recoder_jax.evaluation.foreign import groups_of
from recoder_jax.evaluation.golden import golden_turns, report, shortfalls
from recoder_jax.evaluation.metrics import bootstrap_interval, bootstrap_intervals
from recoder_jax.evaluation.page import worst_median_best
from recoder_jax.evaluation.papers import BEST_EXECUTED, LAST, LAST_EXECUTED, breakdowns, headline, paper_scores
from recoder_jax.evaluation.remote import Journal, Rules, Spoken, play_remote
from recoder_jax.evaluation.replay import replay
from recoder_jax.evaluation.scoring import chart_results, difficulty_of, salvage
from recoder_jax.evaluation.tables import WRITERS, paper_tables
from recoder_jax.evaluation.writing import full_evaluation
from recoder_jax.rewards.judgement import FailureKind
from recoder_jax.rewards.mixture import Mixture
from recoder_jax.runs.directory import RunDirectory
from recoder_jax.runs.records import ChartResult, Evaluation
from recoder_jax.runs.scorecards import ModeScore, ReferenceCard
from tests.fault_server import GOOD, serving
from tests.scripted_server import answer, image_key

CHARTS = 3
HALF_DRAWN = "import matplotlib.pyplot as plt\nplt.title('T')\nplt.plot([1, 2])\nraise KeyError('late')\n"


def door(world, workdir, *more):
    return evaluate.main(['--config=configs/tiny/evaluate.py', f'--workdir={workdir}', f'--config.data.dir={world}', f'--config.evaluation.charts={CHARTS}',
                          '--config.evaluation.max_pixels=78400', '--config.rollout.feedback_tokens=128', '--config.sandbox.workers=1', *more])  # fmt: skip


def at(server, *more):
    return [f'--server={server.address}', '--model=scripted', '--config.evaluation.concurrency=2', *more]


@pytest.fixture(scope='module')
def evaluated(world, tmp_path_factory):
    """A run whose model crashes, half draws, repeats and then draws the golden program; the requests it was sent."""
    workdir, charts = tmp_path_factory.mktemp('evaluated') / 'run', open_charts(world, 'chart_world', 'test')
    answers = {}
    for number in range(CHARTS):
        golden = write_response('', charts[number].program)
        wrong = write_response('', HALF_DRAWN)
        turns = [golden, golden, wrong, golden] if number == 0 else [wrong, 'no program', wrong, golden]
        answers[image_key(charts[number].image)] = turns
    with serving([lambda body: GOOD if body['model'] == 'judge' else answer(answers, body)]) as server:
        options = judged_by(server.address)
        assert door(world, workdir, *at(server, *options)) == 0
        yield workdir, [request for request in server.requests if request['model'] == 'scripted'], options


def judged_by(address):
    return ['--config.evaluation.turns=4', '--config.reward.alpha=0.45', '--config.reward.beta=0.45', f'--config.judge.base_url={address}', '--config.judge.model=judge']


def test_a_server_plays_the_engines_loop_over_four_turns(evaluated):
    workdir, requests, _ = evaluated
    evaluation = RunDirectory.existing(workdir).read_evaluation()
    assert [turn.executed.value for turn in evaluation.turns] == pytest.approx([100 / 3, 100 / 3, 0, 100])
    assert evaluation.turns[3].low_level.value == 100 and evaluation.corrections[2].repeat_rate.value == 100
    assert len(requests) == 4 * CHARTS
    second = [request['messages'] for request in requests if len(request['messages']) == 3]
    said = [[part['type'] for part in messages[2]['content']] for messages in second]
    assert sorted(said) == [['image_url', 'text'], ['text'], ['text']]
    assert sum("KeyError: 'late'" in messages[2]['content'][0].get('text', '') for messages in second) == 2
    third = [request['messages'] for request in requests if len(request['messages']) == 5]
    assert sum('no python block' in str(messages[4]['content']) for messages in third) == 2


def test_rules_of_choice_and_both_ways_to_count_failures_are_reported(evaluated):
    workdir, _, _ = evaluated
    papers = RunDirectory.existing(workdir).read_evaluation().papers
    assert [row.choice for row in papers] == ['turn 1', 'turn 2', 'turn 3', 'turn 4', LAST, LAST_EXECUTED, BEST_EXECUTED]
    third = headline(papers, 'turn 3')
    assert third.code_pass.value == 0 and 0 < third.no_filter.value < 100 and third.high_level.value == third.overall.value == 0
    last = headline(papers, BEST_EXECUTED)
    assert last.fixed.value == 100 and last.pass_rate.value == 100 and last.text_match.value == 100
    assert last.high_level.value == 100 and last.overall.value == pytest.approx((100 + last.code_pass.value) / 2)


def test_everything_is_written_and_asking_again_asks_nobody(evaluated, world, capsys):
    workdir, _, options = evaluated
    assert {path.name for path in workdir.iterdir()} >= {'evaluation.json', 'evaluation.html', 'tables.md', 'tables.csv', 'tables.json', 'tables.tex', 'dialogues.jsonl'}
    page = (workdir / 'evaluation.html').read_text()
    assert 'worst dialogues' in page and 'published, arXiv 2604.01600' in page
    card = RunDirectory.existing(workdir).read_evaluation().card
    assert card.subject == 'scripted at a server' and card.packages['matplotlib'] and len(card.code_version) == 12 and card.judge_model == 'judge'
    assert door(world, workdir, '--server=http://127.0.0.1:9/v1', '--model=scripted', '--config.evaluation.concurrency=2', *options) == 0
    assert 'evaluated already' in capsys.readouterr().out
    assert evaluate.main([f'--tables={workdir / "all"}', str(workdir)]) == 0
    assert (workdir / 'all' / 'tables.md').read_text() == (workdir / 'tables.md').read_text()


def test_replay_gives_the_same_scores_or_names_what_differs(evaluated, world, sandbox, capsys):
    workdir, _, _ = evaluated
    found = replay(RunDirectory.existing(workdir), sandbox)
    assert (found.charts, found.scores, found.different, found.versions) == (CHARTS, 10 * 4 * CHARTS, (), ())
    file = workdir / 'evaluation.json'
    before = file.read_text()
    content = json.loads(before)
    content['results'][0]['low_level'][0] = 0.5
    content['card']['packages']['matplotlib'] = '3.0'
    file.write_text(json.dumps(content))
    assert door(world, workdir, '--replay') == 1
    caught = capsys.readouterr()
    assert 'turn 1: low_level was 0.5, now it is 1.0' in caught.out and 'matplotlib was 3.0, now it is' in caught.err
    file.write_text(before)


def test_an_evaluation_that_was_stopped_goes_on_with_the_block_it_was_in(world, tmp_path, monkeypatch):
    monkeypatch.setattr(blocks, 'BLOCK', 2)
    whole, broken, scored = tmp_path / 'whole', tmp_path / 'broken', []

    def noted(groups, *others):
        scored.append([group.chart.id for group in groups])
        if len(scored) == 4:
            raise ValueError('stopped')
        return chart_results(groups, *others)

    monkeypatch.setattr(evaluate, 'chart_results', noted)
    copies = f'--config.mirror=file://{tmp_path}/copies'
    assert door(world, whole, '--golden', copies) == 0 and not (whole / 'blocks').exists()
    assert door(world, broken, '--golden') == 2 and [file.name for file in (broken / 'blocks').iterdir()] == ['0000.json']
    assert door(world, broken, '--golden') == 0 and scored[2] == scored[0] and scored[3] == scored[4] == scored[1]
    one, other = (RunDirectory.existing(run) for run in (whole, broken))
    assert one.read_evaluation().results == other.read_evaluation().results and one.read_rollouts(0) == other.read_rollouts(0)
    assert (whole / 'golden.md').read_text() == (broken / 'golden.md').read_text()
    shutil.rmtree(whole)  # on an empty disk the evaluation comes back from its copy
    assert door(world, whole, '--golden', copies) == 0 and len(scored) == 5 and one.read_evaluation().results == other.read_evaluation().results


def test_blocks_of_another_evaluation_and_damaged_ones_are_scored_again(tmp_path):
    run, asked = RunDirectory(tmp_path), []
    def score(numbers, done):
        asked.append(len(numbers))
        return Scored((result('a', [True], [1.0]),) * len(numbers), ())
    assert len(score_blocks(run, 'one', 3, score, '').results) == 3
    assert len(score_blocks(run, 'one', 3, score, '').results) == 3 and asked == [3]
    score_blocks(run, 'other', 3, score, '')
    (tmp_path / 'blocks' / '0000.json').write_text('{"mark": "other", "results"')
    score_blocks(run, 'other', 3, score, '')
    assert asked == [3, 3, 3] and score_blocks(run, 'one', 3, lambda numbers, done: None, '') is None


def test_dialogues_that_fail_are_named_and_the_same_command_asks_only_for_them(world, tmp_path, capsys):
    charts = open_charts(world, 'chart_world', 'test')
    answers = {image_key(charts[number].image): [write_response('', charts[number].program)] for number in range(CHARTS)}
    left_out = image_key(charts[1].image)

    def lame(body):
        text = answer(answers, body)
        return 503 if text == answers[left_out][0] else text

    options = ['--config.evaluation.attempts=2', '--config.evaluation.turns=1']
    with serving([lame]) as server:
        assert door(world, tmp_path / 'run', *at(server, *options)) == 75
    error = capsys.readouterr().err
    assert f'1 of {CHARTS} dialogues could not be played (broken 1; {charts[1].id}: the server answered with status 503)' in error
    assert not (tmp_path / 'run' / 'evaluation.json').exists()
    with serving([lambda body: answer(answers, body)]) as server:
        assert door(world, tmp_path / 'run', *at(server, *options)) == 0
        assert len(server.requests) == 1
    assert RunDirectory.existing(tmp_path / 'run').read_evaluation().turns[0].low_level.value == 100


def first_charts(world, count):
    charts = open_charts(world, 'chart_world', 'test')
    return [charts[index] for index in range(count)]


def play(server, charts, sandbox, directory, turns=2, **more):
    options = ServerOptions(server.address, 'scripted', temperature=0.0, response_tokens=64, attempts=2, first_pause=0.01, **more)
    return play_remote(options, charts, Rules(turns, seed=0), sandbox, Journal(directory / 'journal', 'a'))


def test_a_refusal_after_turn_1_ends_a_dialogue_and_counts_as_no_program(world, sandbox, tmp_path):
    charts = first_charts(world, 1)
    golden = write_response('', charts[0].program)
    with serving([lambda body: golden if len(body['messages']) == 1 else 400]) as server:
        (turns,), unplayed = play(server, charts, sandbox, tmp_path, turns=3)
        (again,), _ = play(server, charts, sandbox, tmp_path, turns=3)
        assert len(server.requests) == 2
    assert not unplayed and [turn.execution.ok for turn in turns] == [True, False, False]
    assert [turn.refused for turn in again] == [turn.refused for turn in turns] and 'status 400' in turns[2].refused


def test_a_wrong_key_ends_everything_at_once_and_other_failures_have_a_name(world, sandbox, tmp_path):
    charts = first_charts(world, 2)
    for script, kind in (('drop', 'unreachable'), (b'{}', 'broken'), (413, 'too_large')):
        with serving([script]) as server:
            spoken, unplayed = play(server, charts, sandbox, tmp_path)
        assert spoken == [None, None] and {each.kind.value for each in unplayed} == {kind}
    with serving([(429, {'Retry-After': '0.01'}), (429, {'Retry-After': '0.01'}), (429, {'Retry-After': '0.01'}), 'no program']) as server:
        assert play(server, charts[:1], sandbox, tmp_path, turns=1)[1] == []
    (tmp_path / 'journal').unlink()
    with serving([401]) as server, pytest.raises(WrongServer, match='status 401; check the address, --model and the key'):
        play(server, charts, sandbox, tmp_path)


def test_a_server_that_hangs_is_given_up_at_the_deadline(world, sandbox, tmp_path):
    with serving(['hang']) as server:
        _, unplayed = play(server, first_charts(world, 1), sandbox, tmp_path, seconds=0.2)
    assert unplayed[0].kind is FailureKind.timeout and 'no response within 0.2 s' in unplayed[0].sentence


def test_requests_keep_the_pace_that_is_set(world, sandbox, tmp_path):
    with serving(['no program']) as server:
        play(server, first_charts(world, 2), sandbox, tmp_path, requests_per_minute=300)
        times = sorted(server.times)
    assert len(times) == 4 and times[-1] - times[0] > 3 * 0.2 - 0.1


@pytest.mark.parametrize('more, part', [
    (['--server=nowhere', '--model=m'], 'is not a URL'),
    (['--server=http://127.0.0.1:9/v1'], '--server and --model go together'),
    (['--server=http://127.0.0.1:9/v1', '--model=m', '--replay'], 'choose one'),
    (['--policy=configs'], 'neither a policy nor'),
    (['--replay'], 'give the --workdir of a run'),
    (['--config.evaluation.turns=9'], 'give 1 to 8'),
    (['--policy=configs', '--config.evaluation.max_pixels=3'], 'at least 784'),
    (['stray'], "'stray' is no option"),
])  # fmt: skip
def test_bad_input_is_one_sentence(world, tmp_path, capsys, more, part):
    assert door(world, tmp_path / 'run', *more) == 2
    error = capsys.readouterr().err.strip()
    assert part in error and len(error.splitlines()) == 1


def test_a_journal_that_was_cut_off_loses_its_last_line_only(tmp_path):
    path, spoken = tmp_path / 'journal', [Spoken('one', None)]
    Journal(path, 'a').keep('chart 1', spoken)
    Journal(path, 'b').keep('chart 2', spoken)
    path.write_bytes(path.read_bytes() + b'{"mark": "a", "chart": "chart 3", "tur')
    journal = Journal(path, 'a')
    journal.keep('chart 4', spoken)
    again = Journal(path, 'a')
    assert [bool(again.find(f'chart {number}')) for number in range(1, 5)] == [True, False, False, True]


def test_what_was_drawn_before_an_exception_can_be_salvaged(sandbox):
    failed, kept = sandbox.execute_all([HALF_DRAWN, salvage(HALF_DRAWN)])
    assert not failed.ok and kept.ok and 'T' in kept.elements.texts


def test_golden_programs_that_cannot_reach_100_are_listed_with_the_reason(sandbox):
    programs = {'whole': "import matplotlib.pyplot as plt\nplt.plot([1, 2], color='red')\nplt.title('T')\n",
                'bare': 'import matplotlib.pyplot as plt\nplt.figure().add_axes([0, 0, 1, 1]).hexbin([1, 2], [1, 2])\n', 'broken': 'x = 1 / 0\n'}  # fmt: skip
    charts = [Chart(name, np.zeros((8, 8, 3), np.uint8), program) for name, program in programs.items()]
    goldens = dict(zip(programs.values(), sandbox.execute_all(list(programs.values()))))
    groups = groups_of(charts, golden_turns(charts, sandbox), Mixture(alpha=0.9, beta=0.0), goldens.__getitem__)
    found = shortfalls(chart_results(groups, goldens.__getitem__, sandbox), goldens.__getitem__, charts)
    assert {(each.chart, each.measure) for each in found} == {
        ('bare', 'chartmimic text'), ('bare', 'chartmimic layout'), ('bare', 'chartmimic chart_type'), ('bare', 'chartmimic color'), ('broken', 'executed')}
    assert 'ZeroDivisionError' in found[-1].reason and found[0].reason.startswith('it draws no text')
    assert report(found, 3).startswith('1 of 3 golden programs reach 100')


# ---- pure functions

def result(chart, executed, low, kind='bar', high=None):
    count = len(low)
    return ChartResult(
        chart, kind, executed, low, ('x',) * count, difficulty=difficulty_of(chart), code_pass=tuple(ModeScore(value, value, value, value) for value in low),
        no_filter=tuple(ModeScore(1, 1, 1, 1) for _ in low), high_level=high or (None,) * count, visible=executed,
        text_match=tuple(value if ran else None for ran, value in zip(executed, low)))  # fmt: skip


RESULTS = (
    result('w/difficulty_0/1', (True, True, False), (0.4, 0.8, 0.0), high=(0.5, 0.5, 0.0)),
    result('w/difficulty_1/1', (False, True, True), (0.0, 0.6, 0.2), kind='line'),
)
CARD = ReferenceCard('s', 'hash', 'code', {'numpy': '2'}, '1 files', {'seed': 0}, '', '2026-01-01')


def test_rules_choose_turns_as_they_say():
    rows = {row.choice: row for row in paper_scores(RESULTS)}
    assert rows[LAST].fixed.value == pytest.approx(10) and rows[LAST].executed.value == 50
    assert rows[LAST_EXECUTED].fixed.value == pytest.approx(50) and rows[BEST_EXECUTED].fixed.value == pytest.approx(70)
    assert rows['turn 1'].high_level.value == 50 and rows['turn 1'].overall.value == pytest.approx(45)
    assert rows['turn 1'].text_match.value == pytest.approx(40) and rows['turn 1'].no_filter.value == 100


def test_breakdowns_are_by_type_and_difficulty_where_known():
    found = {(row.by, row.value): row for row in breakdowns(RESULTS)}
    assert set(found) == {('kind', 'bar'), ('kind', 'line'), ('difficulty', '0'), ('difficulty', '1')}
    assert found['kind', 'bar'].improvement.value == pytest.approx(-40) and found['kind', 'line'].improvement.value is None
    assert breakdowns(RESULTS[:1]) == () and difficulty_of('mpl_gallery/x/y') == ''


def test_intervals_of_several_rows_are_those_of_each_alone():
    values = np.random.default_rng(0).uniform(size=(2, 50))
    together = bootstrap_intervals(np.vstack([values, np.full((1, 50), np.nan)]), seed=3)
    for row, interval in zip(values, together):
        alone = bootstrap_interval(row, seed=3)
        assert (interval.value, interval.low, interval.high) == pytest.approx((alone.value, alone.low, alone.high))
    assert together[2].value is None
    values[0, :25] = np.nan
    half = bootstrap_intervals(values, seed=3)[0]
    assert half.value == pytest.approx(100 * values[0, 25:].mean()) and half.low < half.value < half.high


def test_tables_come_in_four_forms_with_published_rows_marked():
    evaluation = full_evaluation(RESULTS, 'ours & theirs_1', 'bench', CARD)
    assert Evaluation.from_json(json.loads(json.dumps(evaluation.to_json()))) == evaluation
    tables = paper_tables([evaluation])
    text = {ending: write(tables) for ending, write in WRITERS.items()}
    sources = {row[-1] for row in tables[0].rows}
    assert 'ours' in sources and all(source == 'ours' or source.startswith('published') for source in sources)
    assert '| MM-ReCoder | 4 |' in text['md'] and r'ours \& theirs\_1' in text['tex']
    assert {row[0] for row in csv.reader(io.StringIO(text['csv']))} == {'table', 'main', 'corrections', 'turns', 'breakdown', 'cards'}
    assert [table['name'] for table in json.loads(text['json'])] == ['main', 'corrections', 'turns', 'breakdown', 'cards']
    with pytest.raises(ValueError, match='no evaluation'):
        paper_tables([])


@pytest.mark.parametrize('count', range(1, 12))
def test_a_dialogue_stands_under_one_heading(count):
    class Turn:
        def __init__(self, value):
            self.parts = {'low_level': value}

    class Record:
        def __init__(self, value):
            self.turns = [Turn(value)]

    found = worst_median_best([Record(value) for value in range(count)])
    shown = [record.turns[0].parts['low_level'] for records in found.values() for record in records]
    assert len(shown) == len(set(shown)) and (count < 3 or all(found.values()))
    assert not found['median'] or found['median'][0].turns[0].parts['low_level'] == (count - len(found['median'])) // 2
    assert found['worst'][0].turns[0].parts['low_level'] == 0 and (count < 2 or found['best'][0].turns[0].parts['low_level'] == count - 1)
