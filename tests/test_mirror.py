"""The copy of a run on an object store: whole when a run ends, fetched where the disk is new, late when the store is away."""

import contextlib
import time
import uuid

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from recoder_jax.runs.directory import RunDirectory
from recoder_jax.runs.mirror import MARK, Mirror, Patience, open_store, send

QUICK = Patience(first=0.02, longest=0.1, start=0.5, end=0.5, between=0.0)


class Away(MemoryFileSystem):
    """A store in memory that answers 503 while `away` is set, and after `writes` more files, where that is set."""

    protocol = 'away'
    away, writes, asked = False, None, 0
    store, pseudo_dirs = {}, ['']

    def _answer(self):
        Away.asked += 1
        if Away.writes is not None:
            Away.writes -= 1
        if Away.away or (Away.writes is not None and Away.writes < 0):
            raise OSError(5, 'An error occurred (503): Slow Down')

    def put_file(self, lpath, rpath, **options):
        self._answer()
        return super().put_file(lpath, rpath, **options)

    def pipe_file(self, path, value, **options):
        self._answer()
        return super().pipe_file(path, value, **options)


fsspec.register_implementation('away', Away, clobber=True)


@pytest.fixture
def address():
    Away.away, Away.writes, Away.asked = False, None, 0
    return f'away://bucket/{uuid.uuid4().hex}'


def checkpoint(run, step, mark=True):
    folder = run.path / 'checkpoints' / str(step) / 'params'
    folder.mkdir(parents=True)
    (folder / 'weights').write_bytes(bytes([step]) * 100)
    if mark:
        (folder.parent / MARK).write_text('{}')


def run_at(path, steps):
    run = RunDirectory(path)
    run.write_config({'name': 'it'})
    for step in range(1, steps + 1):
        run.write_metrics(step, {'loss/nll': 1.0 / step})
    checkpoint(run, steps)
    return run


def files(path, but=()):
    found = {str(file.relative_to(path)): file.read_bytes() for file in path.rglob('*') if file.is_file()}
    return {name: content for name, content in found.items() if not name.startswith(but)}


def until(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_new_disk_gets_the_run_without_what_was_not_finished(address, tmp_path):
    run = run_at(tmp_path / 'one' / 'run', 2)
    with Mirror(run.path, address, QUICK) as mirror:
        checkpoint(run, 3, mark=False)
        (run.path / 'processes').mkdir()
        (run.path / 'processes' / '0.json').write_text('{}')
        mirror.wake()
    there = tmp_path / 'two' / 'run'
    said = []
    with Mirror(there, address, QUICK, said.append):
        assert files(there) == files(run.path, but=('checkpoints/3', 'processes'))
    assert said == [f'5 files of the run were fetched from {address}/run']


def test_what_is_gone_or_taken_back_is_gone_in_the_copy_and_finished_files_are_copied_once(address, tmp_path):
    run = run_at(tmp_path / 'run', 4)
    with Mirror(run.path, address, QUICK):
        pass
    run.rewind(3)
    run.write_metrics(4, {'loss/nll': 9.0})
    checkpoint(run, 5)
    (run.path / 'checkpoints' / '4' / MARK).unlink()
    Away.asked = 0
    with Mirror(run.path, address, QUICK):
        pass
    assert Away.asked == 1 + 1 + 4      # the claim, which is copied as a file too; config, metrics, two files of checkpoint 5
    with Mirror(tmp_path / 'new' / 'run', address, QUICK):
        pass
    assert files(tmp_path / 'new' / 'run') == files(run.path, but=('checkpoints/4',))


def test_a_store_that_is_away_for_a_while_delays_the_copy_and_nothing_else(address, tmp_path):
    run, said = run_at(tmp_path / 'run', 2), []
    with Mirror(run.path, address, QUICK, said.append) as mirror:
        Away.away = True
        mirror.wake()
        until(lambda: said)
        began = time.monotonic()
        run.write_metrics(3, {'loss/nll': 0.1})
        mirror.wake()
        assert time.monotonic() - began < 0.05
        Away.away = False
        until(lambda: len(said) == 2)
    assert 'cannot be written (OSError: [Errno 5] An error occurred (503): Slow Down); the run goes on' in said[0] and 'answers again' in said[1]
    with Mirror(tmp_path / 'new' / 'run', address, QUICK):
        assert files(tmp_path / 'new' / 'run') == files(run.path)


@pytest.mark.parametrize('writes', range(7))
def test_a_copy_that_broke_off_anywhere_holds_no_half_checkpoint(writes, address, tmp_path):
    run, said = run_at(tmp_path / 'run', 2), []
    with Mirror(run.path, address, QUICK):
        pass
    run.write_metrics(3, {'loss/nll': 0.1})
    checkpoint(run, 3)
    with contextlib.suppress(ValueError), Mirror(run.path, address, Patience(first=0.02, start=0.1, end=0.0), said.append):
        Away.writes = writes
    assert bool(said) == (writes < 5)
    Away.writes = None
    there = tmp_path / 'new' / 'run'
    with Mirror(there, address, QUICK):
        finished = {path.parent.name for path in there.glob(f'checkpoints/*/{MARK}')}
        assert {path.name for path in (there / 'checkpoints').iterdir()} == finished
        for step in finished:
            assert files(there / 'checkpoints' / step) == files(run.path / 'checkpoints' / step)
        assert '2' in finished and len(RunDirectory.existing(there).read_metrics()) >= max(map(int, finished))


def test_no_run_is_copied_over_another_one(address, tmp_path):
    one, other = run_at(tmp_path / 'one' / 'run', 3), run_at(tmp_path / 'other' / 'run', 1)
    with Mirror(one.path, address, QUICK):
        pass
    with pytest.raises(ValueError, match='holds the copy of another run than'), Mirror(other.path, address, QUICK):
        pass
    with Mirror(tmp_path / 'new' / 'run', address, QUICK):
        assert files(tmp_path / 'new' / 'run') == files(one.path)


def test_one_file_is_copied_into_a_folder(address, tmp_path):
    page = tmp_path / 'report.html'
    page.write_text('<p>a')
    assert send(page, f'{address}/') == f'{address}/report.html'
    assert fsspec.filesystem('away').cat_file(f'{address}/report.html') == b'<p>a'
    Away.away = True
    with pytest.raises(ValueError, match='cannot be written .*Slow Down'):
        send(page, address)


@pytest.mark.parametrize(('address', 'words'), [('nowhere://x/y', 'does not know'), ('runs', 'give an address')])
def test_an_address_that_means_nothing_is_refused(address, words):
    with pytest.raises(ValueError, match=words):
        open_store(address)


def test_a_store_that_stays_away_is_named_before_anything_is_trained(address, tmp_path):
    Away.away = True
    with pytest.raises(ValueError, match=r'cannot be used \(OSError.*look at the address'), Mirror(tmp_path / 'run', address, QUICK):
        pass

