"""Trackers get what metrics.jsonl gets, no step twice, and say what is missing."""

import importlib.util
import json
import struct
import subprocess
import sys

import pytest

from recoder_jax import train
from recoder_jax.runs import trackers
from recoder_jax.runs.directory import RunDirectory
from recoder_jax.runs.trackers import Trackers, WeightsAndBiases, check_installed

SFT = 'configs/tiny/sft.py'
needs_tensorboard = pytest.mark.skipif(importlib.util.find_spec('tensorboard') is None, reason='the package tensorboard is not installed')


def steps_of(run, first, last, **options):
    """Writes steps to the run and its trackers, as a training does."""
    run.rewind(first - 1)
    with Trackers(run, **{'tensorboard': False, 'wandb': '', 'config': {'seed': 3}} | options) as opened:
        for step in range(first, last + 1):
            run.write_metrics(step, {'loss/total': 1 / step})
            opened.write(step, {'loss/total': 1 / step})


def events(directory):
    """Events of all files in the order TensorBoard reads them; a torn last record is left out, as it does."""
    from tensorboard.compat.proto.event_pb2 import Event

    for path in sorted(directory.glob('*tfevents*')):
        content, at = path.read_bytes(), 0
        while at + 12 <= len(content):
            size = struct.unpack('<Q', content[at:at + 8])[0]
            if at + 16 + size > len(content):
                break
            yield Event.FromString(content[at + 12:at + 12 + size])
            at += 16 + size


def shown(directory):
    """(step, value) as TensorBoard shows them: a session that starts takes back the steps from its own on."""
    from tensorboard.compat.proto.event_pb2 import SessionLog

    found = []
    for event in events(directory):
        if event.HasField('session_log') and event.session_log.status == SessionLog.START:
            found = [(step, value) for step, value in found if step < event.step]
        found += [(event.step, value.simple_value) for value in event.summary.value if value.tag == 'loss/total']
    return found


@needs_tensorboard
def test_tensorboard_shows_every_step_of_a_resumed_run_once(tmp_path):
    run = RunDirectory(tmp_path)
    steps_of(run, 1, 5, tensorboard=True)
    (first,) = (tmp_path / 'tensorboard').iterdir()
    first.write_bytes(first.read_bytes() + b'\x30\x00\x00')      # a kill while it wrote
    steps_of(run, 4, 8, tensorboard=True)
    steps_of(run, 1, 9, tensorboard=True)      # no checkpoint stood
    assert shown(tmp_path / 'tensorboard') == [(step, pytest.approx(1 / step)) for step in range(1, 10)]
    assert next(events(tmp_path / 'tensorboard')).file_version == 'brain.Event:2'


@needs_tensorboard
def test_tensorboard_turned_on_later_has_the_earlier_steps_too(tmp_path):
    run = RunDirectory(tmp_path)
    steps_of(run, 1, 5)
    assert not (tmp_path / 'tensorboard').exists()
    steps_of(run, 6, 7, tensorboard=True)
    assert [step for step, _ in shown(tmp_path / 'tensorboard')] == list(range(1, 8))


@needs_tensorboard
def test_tensorboard_loads_no_framework():
    code = ('import sys; from pathlib import Path; from recoder_jax.runs.trackers import TensorBoard; import tempfile; '
            'd = tempfile.mkdtemp(); t = TensorBoard(Path(d) / "t", []); t.write({"step": 1, "a": float("nan")}); t.close(); '
            'sys.exit(any(name in sys.modules for name in ("tensorflow", "torch", "jax")))')
    assert subprocess.run([sys.executable, '-W', 'error', '-c', code]).returncode == 0


class FakeWandb:
    """What of the package is used. had: steps the server has. offline: it knows nothing of earlier sessions."""

    class Error(Exception):
        pass

    class Settings:
        def __init__(self, console):
            self.console = console

    def __init__(self, had=0, offline=False, refuses=False):
        self.starting_step, self.offline, self._refuses = had + 1 if had else 0, offline, refuses
        self.logged, self.finished, self.arguments = [], 0, None

    def init(self, **arguments):
        if self._refuses:
            raise self.Error('no API key')
        self.arguments = arguments
        return self

    def log(self, values, step):
        self.logged.append((step, values))

    def finish(self):
        self.finished += 1


def logged(module, run, first, last):
    run.rewind(first - 1)
    tracker = WeightsAndBiases(module, 'charts', run, {'seed': 3})
    for step in range(first, last + 1):
        run.write_metrics(step, {'a': step})
        tracker.write({'step': step, 'a': step})
    tracker.close()
    return [step for step, _ in module.logged]


def test_a_run_of_wandb_goes_on_under_its_id_and_is_sent_no_step_twice(tmp_path):
    run, first = RunDirectory(tmp_path / 'mine'), FakeWandb()
    assert logged(first, run, 1, 5) == [1, 2, 3, 4, 5] and first.logged[0] == (1, {'a': 1}) and first.finished == 1
    assert first.arguments['project'] == 'charts' and first.arguments['name'] == 'mine' and first.arguments['resume'] == 'allow'
    assert first.arguments['config'] == {'seed': 3}
    second = FakeWandb(had=4)      # the fifth was lost on the way
    assert logged(second, run, 3, 8) == [5, 6, 7, 8] and second.arguments['id'] == first.arguments['id']
    assert logged(FakeWandb(), RunDirectory(tmp_path / 'other'), 1, 1) == [1]
    assert json.loads((tmp_path / 'other' / 'wandb.json').read_text())['id'] != first.arguments['id']


def test_offline_the_run_itself_remembers_what_was_handed_over(tmp_path):
    run = RunDirectory(tmp_path)
    assert logged(FakeWandb(offline=True), run, 1, 5) == [1, 2, 3, 4, 5]
    assert logged(FakeWandb(offline=True), run, 3, 7) == [6, 7]
    (tmp_path / 'wandb.json').write_text('{"id": 1}')
    with pytest.raises(ValueError, match='is damaged'):
        logged(FakeWandb(offline=True), run, 8, 8)


def test_what_wandb_refuses_is_one_sentence(tmp_path):
    with pytest.raises(ValueError, match='no API key.*WANDB_MODE=offline'):
        WeightsAndBiases(FakeWandb(refuses=True), 'charts', RunDirectory(tmp_path), {})


@pytest.mark.parametrize(('override', 'words'), [
    ('--config.log.tensorboard=True', 'pip install -e .[tensorboard]'), ('--config.log.wandb=charts', 'pip install -e .[wandb]'),
    ('--config.log.wandb=a/b', 'has no /'),
])
def test_a_missing_package_or_a_bad_name_is_one_sentence_before_anything_runs(override, words, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(trackers.importlib.util, 'find_spec', lambda name: None)
    assert train.main([f'--config={SFT}', f'--workdir={tmp_path / "run"}', override]) == 2
    error = capsys.readouterr().err
    assert words in error and error.count('\n') == 1 and not (tmp_path / 'run').exists()


def test_a_directory_in_the_way_is_no_package(tmp_path, monkeypatch):
    if importlib.util.find_spec('wandb') is None:
        (tmp_path / 'wandb').mkdir()
        monkeypatch.syspath_prepend(tmp_path)
        with pytest.raises(ValueError, match='is not installed'):
            check_installed(tensorboard=False, wandb='charts')
    check_installed(tensorboard=False, wandb='')
