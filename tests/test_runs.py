"""Promises of the run directory."""

import json
import os
import sys

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from PIL import Image

from recoder_jax.runs.directory import RunDirectory
from recoder_jax.runs.records import ChartResult, CorrectionScores, DialogueRecord, Evaluation, Interval, TurnRecord, TurnScores


def turn(number=1, **changes):
    fields = dict(turn=number, text='<think>a</think>', program='x = 1', status='ok', log='', render='a.png',
                  parts={'total': 0.5}, tokens=3, shared=False, advantage=None)
    return TurnRecord(**fields | changes)


def dialogue(step=1, branch=0, **changes):
    fields = dict(step=step, chart='c/0', kind='bar', branch=branch, branch_turn=1, golden='x = 2', target='b.png', reward=0.5,
                  turns=(turn(1), turn(2, program=None, render=None, advantage=-0.25)))
    return DialogueRecord(**fields | changes)


def train(run, first, last):
    for step in range(first, last + 1):
        image = np.full((4, 5, 3), step, np.uint8)
        run.write_metrics(step, {'loss/total': 1 / step, 'reward/total': float('nan') if step == 2 else 0.1})
        run.write_rollouts(step, [dialogue(step, target=run.store_render(image))])


def content(path):
    return {str(file.relative_to(path)): file.read_bytes() for file in sorted(path.rglob('*')) if file.is_file()}


@pytest.mark.parametrize('torn', [b'', b'{"step": 5, "loss/to', b'{"step": 5}', b'\x00\x00\x00\n'])
def test_a_killed_and_resumed_run_has_the_bytes_of_an_uninterrupted_one(tmp_path, torn):
    whole, broken = RunDirectory(tmp_path / 'whole'), RunDirectory(tmp_path / 'broken')
    train(whole, 1, 6)
    train(broken, 1, 4)
    with open(broken.path / 'metrics.jsonl', 'ab') as file:
        file.write(torn)
    (broken.rollouts / '.step_000005.jsonl.1.2.tmp').write_bytes(b'half')
    resumed = RunDirectory(broken.path)
    resumed.rewind(2)
    train(resumed, 3, 6)
    assert content(whole.path) == content(broken.path)


def test_rewind_to_the_start_leaves_no_metrics_and_no_dialogues(tmp_path):
    run = RunDirectory(tmp_path)
    train(run, 1, 2)
    run.rewind(0)
    assert run.read_metrics() == [] and run.rollout_steps() == []
    run.write_metrics(1, {})


def test_a_torn_last_line_is_left_out_when_reading_and_cut_when_writing(tmp_path):
    run = RunDirectory(tmp_path)
    run.write_metrics(1, {'a': 1})
    with open(tmp_path / 'metrics.jsonl', 'ab') as file:
        file.write(b'{"step": 2, "a"')
    assert RunDirectory(tmp_path).read_metrics() == [{'step': 1, 'a': 1.0}]
    RunDirectory(tmp_path).write_metrics(2, {'a': 3})
    assert run.read_metrics() == [{'step': 1, 'a': 1.0}, {'step': 2, 'a': 3.0}]


def test_damage_inside_the_metrics_is_named_by_line(tmp_path):
    run = RunDirectory(tmp_path)
    (tmp_path / 'metrics.jsonl').write_text('{"step": 1}\nnonsense\n{"step": 3}\n')
    with pytest.raises(ValueError, match='line 2 of .* is damaged'):
        run.read_metrics()


def test_a_step_is_written_once(tmp_path):
    run = RunDirectory(tmp_path)
    run.write_metrics(3, {})
    for writer in (run, RunDirectory(tmp_path)):
        with pytest.raises(ValueError, match='rewind'):
            writer.write_metrics(3, {})


def test_numbers_that_are_not_finite_survive_and_the_file_stays_json(tmp_path):
    run = RunDirectory(tmp_path)
    run.write_metrics(1, {'a': float('nan'), 'b': float('inf'), 'c': np.float32(0.5), 'd': np.float32('-inf'), 'e': True})
    row = run.read_metrics()[0]
    assert np.isnan(row['a']) and row['b'] == float('inf') and row['c'] == 0.5 and row['d'] == float('-inf') and row['e'] == 1.0
    json.loads((tmp_path / 'metrics.jsonl').read_text(), parse_constant=lambda name: pytest.fail(name))


def test_a_metric_that_is_no_number_is_refused_by_name(tmp_path):
    with pytest.raises(ValueError, match="metric loss/total is 'big'"):
        RunDirectory(tmp_path).write_metrics(1, {'loss/total': 'big'})


def test_a_render_is_stored_once_by_its_pixels(tmp_path):
    run, image = RunDirectory(tmp_path), np.random.default_rng(0).integers(256, size=(8, 6, 3), dtype=np.uint8)
    name = run.store_render(image)
    written = os.stat(run.renders / name).st_mtime_ns
    assert run.store_render(image.copy()) == name and os.stat(run.renders / name).st_mtime_ns == written
    assert run.store_render(image.reshape(6, 8, 3)) != name
    assert np.array_equal(np.asarray(Image.open(run.renders / name)), image)
    with pytest.raises(ValueError, match='uint8'):
        run.store_render(image.astype(np.float32))


names = st.text(max_size=8)
numbers = st.floats(allow_nan=False)
turns = st.builds(TurnRecord, turn=st.integers(1, 9), text=st.text(), program=st.none() | st.text(), status=names, log=st.text(),
                  render=st.none() | names, parts=st.dictionaries(names, numbers, max_size=3), tokens=st.integers(0, 99),
                  shared=st.booleans(), advantage=st.none() | numbers)
dialogues = st.builds(DialogueRecord, step=st.just(7), chart=names, kind=names, branch=st.integers(0, 9), branch_turn=st.integers(1, 3),
                      golden=st.text(), target=names, reward=numbers, turns=st.lists(turns, max_size=3).map(tuple))


@settings(max_examples=40, deadline=None)
@given(records=st.lists(dialogues, max_size=4))
def test_dialogues_come_back_as_they_were_written(tmp_path_factory, records):
    run = RunDirectory(tmp_path_factory.mktemp('run'))
    records += [dialogue(7, golden='\ud800 lone surrogate \u2028 and </script>')]
    run.write_rollouts(7, records)
    assert run.read_rollouts(7) == records and run.rollout_steps() == [7]


def test_a_damaged_or_missing_rollout_file_is_named(tmp_path):
    run = RunDirectory(tmp_path)
    with pytest.raises(FileNotFoundError, match='no dialogues of step 4'):
        run.read_rollouts(4)
    run.write_rollouts(4, [dialogue(4)])
    path = run.rollouts / 'step_000004.jsonl'
    path.write_bytes(path.read_bytes() + b'{"step": 4}\n')
    with pytest.raises(ValueError, match='line 2 of .*step_000004'):
        run.read_rollouts(4)


def test_config_and_evaluation_come_back(tmp_path):
    run = RunDirectory(tmp_path)
    run.write_config({'b': (1, 2), 'a': {'lr': 1e-3}})
    assert run.read_config() == {'a': {'lr': 1e-3}, 'b': [1, 2]}
    assert run.read_evaluation() is None
    whole, nothing = Interval(81.5, 80.0, 83.0), Interval(None, None, None)
    evaluation = Evaluation('sft', 'chart_world', 1, {'sampling': 0}, 'ab', (TurnScores(1, whole, whole, 1.0, None, 2.0, 3.0),),
                            (CorrectionScores(2, 0, nothing, nothing, nothing, nothing, nothing),),
                            (ChartResult('c', 'bar', (True, False), (0.5, 0.0), ('x', None)),))
    run.write_evaluation(evaluation)
    assert run.read_evaluation() == evaluation
    (tmp_path / 'evaluation.json').write_text('{"name": "sft"}')
    with pytest.raises(ValueError, match='missing field'):
        run.read_evaluation()


def test_a_file_in_the_place_of_a_run_directory_is_one_sentence(tmp_path):
    (tmp_path / 'file').write_text('')
    for path in (tmp_path / 'file', tmp_path / 'file' / 'run'):
        with pytest.raises(ValueError, match='file') as caught:
            RunDirectory(path)
        assert '\n' not in str(caught.value)


@pytest.mark.skipif(not sys.platform.startswith('linux'), reason='/proc is a directory nobody can write to on Linux only')
def test_an_unwritable_place_is_one_sentence():
    with pytest.raises(ValueError, match='cannot be created'):
        RunDirectory('/proc/run')


def test_reading_does_not_create_a_run(tmp_path):
    with pytest.raises(FileNotFoundError, match='no run directory'):
        RunDirectory.existing(tmp_path / 'absent')
    with pytest.raises(FileNotFoundError, match='is not a run directory'):
        RunDirectory.existing(tmp_path)
    assert list(tmp_path.iterdir()) == []
