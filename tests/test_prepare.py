"""Data sets: built whole or not at all, in order, read lazily; the gallery; the door and its bad input."""

import fcntl
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest

from recoder_jax.charts.chart import Chart
from recoder_jax.charts.sandbox import Sandbox
from recoder_jax.data.builders import ChartRecord, CorrectionRecord
from recoder_jax.data.building import Request, Tally, build, in_order
from recoder_jax.data.mpl_gallery import download, read_archive, split_of
from recoder_jax.data.sources import open_charts, open_examples
from recoder_jax.dialogue.response import parse_response
from recoder_jax.prepare import main
from tests.conftest import WORLD

DRAWING = "import matplotlib.pyplot as plt\nfig, ax = plt.subplots(figsize=(2, 1))\nax.bar(['a', 'b'], [1, {index}])\nplt.show()\n"
FAILING = "import matplotlib.pyplot as plt\nplt.figure()\nraise KeyError('x')\n"
LICENCE = 'License agreement for a test\n'


def request(form='charts', **arguments):
    return Request('sample', 'small', form, arguments, 'A sample.', 'Apache-2.0', 'a test')


def picture(index):
    return np.random.default_rng(index).integers(0, 256, (20 + index, 30, 3), dtype=np.uint8)


def chart_records(count, think='seen'):
    for index in range(count):
        yield ChartRecord(Chart(f'sample/{index}', picture(index), f'x = {index}', 'bar'), think, 'Apache-2.0', f'line {index}')


def build_charts(out, count=25, **arguments):
    splits = {'train': lambda: chart_records(count), 'test': lambda: chart_records(2)}
    return build(request(**arguments), splits, Tally(), out, {'LICENSE': LICENCE})


def programs(count):
    """Every third program has nested data, every third computes them."""
    data = '[{n}, 2]', '[[{n}, 2], [3, 4]]', '[v for v in range({n})]'
    for index in range(count):
        program = 'import matplotlib.pyplot as plt\nplt.plot(' + data[index % 3].format(n=index) + ')\n'
        yield ChartRecord(Chart(f'sample/{index}', picture(index), program, 'line'), '', 'Apache-2.0', '')


def test_charts_with_flat_data_can_be_kept_alone(tmp_path):
    build(request(), {'train': lambda: programs(12), 'test': lambda: (record for record in programs(9) if record.chart.id.endswith('1'))}, Tally(), tmp_path)
    kept = open_charts(tmp_path, 'sample', 'train', keep='flat')
    assert [chart.id for chart in kept] == [f'sample/{index}' for index in (0, 3, 6, 9)] and kept[-1].id == 'sample/9'
    assert np.array_equal(kept[1].image, picture(3)) and len(open_charts(tmp_path, 'sample', 'train')) == 12
    assert [chart.id for chart in open_charts(tmp_path, 'sample', 'train[4:8]', keep='flat')] == ['sample/6']
    with pytest.raises(IndexError):
        kept[4]
    with pytest.raises(ValueError, match="none of the 1 programs of 'sample', split 'test', has flat data; set data.keep to all"):
        open_charts(tmp_path, 'sample', 'test', keep='flat')


def environment():
    """For a second process that imports this file."""
    tests = Path(__file__).resolve().parent
    return {**os.environ, 'PYTHONPATH': f'{tests}{os.pathsep}{tests.parent}', 'JAX_PLATFORMS': 'cpu'}


def everything(directory):
    return sorted(str(file.relative_to(directory)) for file in directory.rglob('*') if file.is_file())


# ---- writing and reading

def test_charts_come_back_in_order_pixel_for_pixel(tmp_path):
    built = build_charts(tmp_path)
    assert built.counts == {'train': 25, 'test': 2} and not built.stood_already
    charts = open_charts(tmp_path, 'sample', 'train')
    assert len(charts) == 25
    for index in (0, 9, 10, 24, -1):
        chart, place = charts[index], index % 25
        assert (chart.id, chart.program, chart.kind) == (f'sample/{place}', f'x = {place}', 'bar')
        assert np.array_equal(chart.image, picture(place)) and chart.image.dtype == np.uint8
    assert [chart.id for chart in open_charts(tmp_path, 'sample/small', 'train[3:5]')] == ['sample/3', 'sample/4']
    with pytest.raises(IndexError):
        charts[25]


def test_charts_become_single_turn_examples(tmp_path):
    build_charts(tmp_path)
    example = open_examples(tmp_path, 'sample', 'test')[1]
    response = parse_response(example.responses[0])
    assert response.well_formed and (response.think, response.program) == ('seen', 'x = 1')
    assert (example.trained, example.feedbacks) == ((True,), ())


def test_corrections_become_two_turn_examples(tmp_path):
    def records():
        for index, golden in enumerate(chart_records(2)):
            render, log = (picture(7), '') if index else (None, 'KeyError: x')
            yield CorrectionRecord(golden, f'y = {index}', render, log, 'The title is wrong.')

    build(request('corrections'), {'train': records}, Tally(), tmp_path)
    failed, drawn = open_examples(tmp_path, 'sample', 'train')
    assert [parse_response(text).program for text in drawn.responses] == ['y = 1', 'x = 1']
    assert [parse_response(text).think for text in drawn.responses] == ['seen', 'The title is wrong.']
    assert failed.trained == (False, True)
    assert open_examples(tmp_path, 'sample', 'train', trained='all')[0].trained == (True, True)
    assert failed.feedbacks == ((None, 'KeyError: x'),)
    assert np.array_equal(drawn.feedbacks[0][0], picture(7))
    assert drawn.chart.id == 'sample/1'


def test_two_builds_of_one_set_have_the_same_bytes(tmp_path):
    directories = [build_charts(tmp_path / name).directory for name in 'ab']
    for file in everything(directories[0]):
        if file != 'dataset_info.json':
            assert (directories[0] / file).read_bytes() == (directories[1] / file).read_bytes(), file


def test_card_and_manifest_tell_what_the_set_is(tmp_path):
    tally = Tally()
    tally.drop('error: KeyError', 'chart 3')
    directory = build(request(size=1), {'train': lambda: chart_records(1)}, tally, tmp_path, {'LICENSE': LICENCE}).directory
    text = (directory / 'README.md').read_text()
    for part in ('Apache-2.0', 'a test', '| train | 1 |', '| error: KeyError | 1 |', '- chart 3: error: KeyError', '- size: 1'):
        assert part in text
    assert (directory / 'LICENSE').read_text() == LICENCE
    manifest = json.loads((directory / 'request.json').read_text())
    assert set(manifest['sha256']) == set(everything(directory)) - {'request.json'}


# ---- whole or not at all

def test_a_build_that_fails_leaves_nothing(tmp_path):
    def failing():
        yield from chart_records(3)
        raise OSError('the disk is full')

    with pytest.raises(OSError, match='the disk is full'):
        build(request(), {'train': failing}, Tally(), tmp_path)
    assert not [file for file in everything(tmp_path) if not file.endswith('.lock')]
    with pytest.raises(FileNotFoundError, match='no data set'):
        open_charts(tmp_path, 'sample', 'train')
    assert build_charts(tmp_path).counts['train'] == 25


def test_a_build_that_is_killed_is_not_taken_for_whole(tmp_path):
    program = (
        'import os, sys\nfrom test_prepare import *\n'
        'def dying():\n    yield from chart_records(3)\n    os.kill(os.getpid(), 9)\n'
        'build(request(), {"train": dying}, Tally(), sys.argv[1])'
    )
    done = subprocess.run([sys.executable, '-c', program, str(tmp_path)], env=environment(), check=False)
    assert done.returncode == -9 and everything(tmp_path / '.building')
    with pytest.raises(FileNotFoundError, match='no data set'):
        open_charts(tmp_path, 'sample', 'train')
    build_charts(tmp_path)
    assert len(open_charts(tmp_path, 'sample', 'train')) == 25
    assert everything(tmp_path / '.building') == ['sample.small.lock']


def test_a_standing_set_is_left_alone_and_another_one_is_refused(tmp_path):
    first = build_charts(tmp_path, size=25)
    before = {file: (tmp_path / file).stat().st_mtime_ns for file in everything(tmp_path)}
    again = build_charts(tmp_path, size=25)
    assert again.stood_already and (again.directory, again.counts) == (first.directory, first.counts)
    with pytest.raises(ValueError, match='choose another --out or remove it'):
        build_charts(tmp_path, size=26)
    assert before == {file: (tmp_path / file).stat().st_mtime_ns for file in everything(tmp_path)}


def test_two_builders_of_one_set_do_not_meet(tmp_path):
    (tmp_path / '.building').mkdir()
    with (tmp_path / '.building' / 'sample.small.lock').open('w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ValueError, match='another process'):
            build_charts(tmp_path)


def test_a_split_that_ends_empty_is_refused_with_the_reasons(tmp_path):
    tally = Tally()

    def none():
        tally.drop('timeout', 'chart 0')
        yield from ()

    with pytest.raises(ValueError, match=r"split 'test'.*timeout \(1\)"):
        build(request(), {'train': lambda: chart_records(1), 'test': none}, tally, tmp_path)
    assert not (tmp_path / 'sample').exists()


def test_unknown_names_and_splits_are_refused(tmp_path):
    build_charts(tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no data set 'other' in .*; put one there"):
        open_charts(tmp_path, 'other', 'train')
    with pytest.raises(FileNotFoundError, match='large'):
        open_charts(tmp_path, 'sample/large', 'train')
    with pytest.raises(ValueError, match='has no split'):
        open_charts(tmp_path, 'sample', 'validation')
    with pytest.raises(ValueError, match='trained'):
        open_examples(tmp_path, 'sample', 'train', trained='first')
    build(Request('sample', 'large', 'charts', {}, '', '', ''), {'train': lambda: chart_records(1)}, Tally(), tmp_path)
    with pytest.raises(ValueError, match='sample/large, sample/small'):
        open_charts(tmp_path, 'sample', 'train')


# ---- the gallery

def add(archive, name, content):
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def scripts():
    """Drawing scripts in every split, one that fails, one that draws nothing, one that is not UTF-8."""
    names = [f'galleries/examples/bars/bar_{index:02d}.py' for index in (*range(8), 15, 16, 19, 24)]
    assert {split_of(name) for name in names} == {'train', 'validation', 'test'}
    found = {name: DRAWING.format(index=index).encode() for index, name in enumerate(names)}
    found['galleries/examples/bars/fails.py'] = FAILING.replace('\n', '\r\n').encode()
    found['galleries/examples/bars/nothing.py'] = b'x = 1\n'
    found['galleries/examples/bars/empty.py'] = b'\n'
    found['galleries/examples/bars/latin.py'] = b'# caf\xe9\n'
    return found


@pytest.fixture(scope='module')
def source(tmp_path_factory):
    path = tmp_path_factory.mktemp('source') / 'matplotlib-9.9.tar.gz'
    with tarfile.open(path, 'w:gz') as archive:
        for name, content in scripts().items():
            add(archive, f'matplotlib-9.9/{name}', content)
        add(archive, 'matplotlib-9.9/PKG-INFO', b'Metadata-Version: 2.1\nName: matplotlib\nVersion: 9.9\n')
        add(archive, 'matplotlib-9.9/LICENSE/LICENSE', LICENCE.encode())
        add(archive, 'matplotlib-9.9/galleries/../../evil.py', b'x = 1')
        add(archive, 'matplotlib-9.9/galleries/examples/bars/huge.py', b'#' * 1_000_001)
    return path


@pytest.fixture(scope='module')
def gallery(source, tmp_path_factory):
    out = tmp_path_factory.mktemp('data')
    assert main(['mpl_gallery', '--source', str(source), '--out', str(out), '--workers', '2']) == 0
    return out


def test_gallery_keeps_what_draws_and_counts_what_does_not(gallery):
    directory = gallery / 'mpl_gallery' / 'matplotlib_9_9' / '1.0.0'
    found = json.loads((directory / 'request.json').read_text())
    assert sum(found['counts'].values()) == 12
    assert found['drops'] == {
        'error: KeyError': 1, 'no_figure': 1, 'not UTF-8': 1, 'not a program that a response can hold': 1, 'program over 1000000 bytes': 1
    }
    card = (directory / 'README.md').read_text()
    assert 'bars/fails.py: error: KeyError' in card and 'bars/huge.py: program over' in card and 'Repaired: Windows line ends 1' in card
    assert (directory / 'LICENSE').read_text() == LICENCE
    charts = list(open_charts(gallery, 'mpl_gallery', 'train+validation+test'))
    assert {chart.kind for chart in charts} == {'bars'}
    assert {f'galleries/{chart.id.removeprefix("mpl_gallery/")}.py': chart.program.encode() for chart in charts} == {
        name: content for name, content in scripts().items() if name[-5:-3].isdigit()
    }
    assert charts[0].image.shape == (100, 200, 3)


def test_gallery_from_a_directory_is_the_same_set(source, gallery, tmp_path, capsys):
    with tarfile.open(source) as archive:
        members = [member for member in archive if '..' not in member.name]
        archive.extractall(tmp_path, members, filter='data')
    assert read_archive(source).scripts.keys() == {*scripts()}
    assert main(['mpl_gallery', '--source', str(tmp_path / 'matplotlib-9.9'), '--out', str(gallery)]) == 0
    assert 'stands already' in capsys.readouterr().out


def test_failed_download_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv('PIP_NO_INDEX', '1')
    monkeypatch.delenv('PIP_FIND_LINKS', raising=False)
    monkeypatch.setenv('PIP_CONFIG_FILE', '/dev/null')
    with pytest.raises(ValueError, match='pip could not download matplotlib 0.0.1'):
        download(tmp_path, '0.0.1')


# ---- the door

SMALL = ['--train', '12', '--validation', '2', '--test', '2', '--workers', '1']


@pytest.fixture(scope='module')
def world(world, tmp_path_factory):
    """What the door made, in a directory where other data sets may be put beside it."""
    return shutil.copytree(world, tmp_path_factory.mktemp('world') / 'data')


def test_world_charts_are_the_renders_of_their_programs(world, sandbox):
    charts = open_charts(world, 'chart_world', 'train')
    assert [chart.id.rsplit('/', 1)[1] for chart in charts] == [str(index) for index in range(24)]
    for chart in charts[0], charts[7]:
        assert np.array_equal(sandbox.execute(chart.program).render, chart.image)
    example = open_examples(world, 'chart_world', 'train')[3]
    response = parse_response(example.responses[0])
    assert response.well_formed and response.think and response.program == example.chart.program.strip('\n')


def test_corrections_hold_the_feedback_of_their_flawed_programs(world):
    examples = open_examples(world, 'chart_world_corrections', 'train')
    for example in examples:
        first, last = (parse_response(text) for text in example.responses)
        assert first.well_formed and last.well_formed and last.think
        assert first.program != last.program == example.chart.program.strip('\n')
        (render, log), = example.feedbacks
        assert (render is None) == bool(log)
    assert len(examples) >= 10


def test_asking_again_says_so_and_another_difficulty_stands_beside(world, capsys):
    assert main(['chart_world', '--out', str(world), *WORLD]) == 0
    assert 'stands already' in capsys.readouterr().out
    assert main(['chart_world', '--out', str(world), '--train', '13']) == 2
    assert 'choose another --out' in capsys.readouterr().err
    assert main(['chart_world', '--out', str(world), '--difficulty', '1', *SMALL]) == 0
    assert len(open_charts(world, 'chart_world/difficulty_1', 'test')) == 2


def test_bad_input_gives_exit_code_2_and_one_sentence(tmp_path, source, capsys):
    file = tmp_path / 'file'
    file.write_text('x')
    cut = tmp_path / 'cut.tar.gz'
    cut.write_bytes(source.read_bytes()[:-200])
    (tmp_path / 'empty').mkdir()
    out = str(tmp_path / 'out')
    gallery = ['mpl_gallery', '--out', out, '--source']
    for arguments, part in [
        (['chart_world', '--out', out, '--train', '0'], 'at least 1'),
        (['chart_world', '--out', out, '--difficulty', '9'], '9'),
        (['chart_world', '--out', out, '--workers', '0'], '--workers'),
        (['chart_world_corrections', '--out', str(file / 'inside'), *SMALL], 'cannot be written'),
        ([*gallery, str(tmp_path / 'nowhere')], 'nowhere'),
        ([*gallery, str(tmp_path / 'empty')], 'no scripts'),
        ([*gallery, str(file)], 'not a whole tar archive'),
        ([*gallery, str(cut)], 'not a whole tar archive'),
        (['mpl_gallery', '--source', str(source), '--out', out, '--seconds', '-1'], 'positive'),
    ]:
        assert main(arguments) == 2, arguments
        error = capsys.readouterr().err.strip()
        assert part in error and 'Traceback' not in error and len(error.splitlines()) == 1, error
    assert not (tmp_path / 'out' / 'mpl_gallery').exists() and not (tmp_path / 'out' / 'chart_world').exists()


def test_executions_keep_the_order_of_the_items():
    with Sandbox(workers=2) as sandbox:
        programs = ['import time\ntime.sleep(0.2)\n' * (index % 2) + DRAWING.format(index=index) for index in range(5)]
        done = list(in_order(sandbox, range(5), lambda index: (programs[index], FAILING), ahead=3))
    assert [item for item, _ in done] == list(range(5))
    assert all(drawn.ok and not failed.ok for _, (drawn, failed) in done)
