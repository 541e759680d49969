"""Builders of published data sets, each over a small source in its published format; what is wrong in it is counted and left out."""

import io
import json
import tarfile
import zipfile

import numpy as np
import pytest

from recoder_jax.charts.chart import Chart
from recoder_jax.charts.sandbox import Sandbox
from recoder_jax.data.archives import Pictures, unpack
from recoder_jax.data.building import Tally
from recoder_jax.data.leakage import find_leaks
from recoder_jax.data.parquet import find_roles
from recoder_jax.data.released import Item, Verdicts, checked_program
from recoder_jax.data.sources import open_charts, open_examples
from recoder_jax.dialogue.images import decode_image, encode_png
from recoder_jax.dialogue.response import parse_response
from recoder_jax.prepare import main

PROGRAM = "import matplotlib.pyplot as plt\nplt.figure(figsize=(2, 1))\nplt.bar(['a', 'b'], [1, {n}])\nplt.title('T{n}')\n"
HANGING = 'import matplotlib.pyplot as plt\nwhile True:\n    pass\n'
UNSTEADY = "import matplotlib.pyplot as plt\nimport os\nplt.plot([1, 2])\nplt.title(str(os.getpid()))\n"


def picture(n):
    return encode_png(np.random.default_rng(n).integers(0, 256, (30, 40, 3), dtype=np.uint8))


def fenced(program):
    return f'Here it is.\n```python\n{program}\n```\n'


def archive(path, files):
    with tarfile.open(path, 'w:gz') as out:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            out.addfile(member, io.BytesIO(content))


def prepare(name, source, out, *more):
    return main([name, '--source', str(source), '--out', str(out), '--workers', '1', *more])


def manifest(out, name):
    return json.loads(next(out.glob(f'{name}/*/*/request.json')).read_text())


def llava(number, answer, image=None):
    return {'id': f'bar_{number}', 'image': image or f'images/bar_{number}.png', 'conversations': [{'from': 'human', 'value': '<image>\nDraw.'}, {'from': 'gpt', 'value': answer}]}


def chart2code(path, records, pictures=range(20)):
    path.mkdir(exist_ok=True)
    archive(path / 'json.tar.gz', {'json/chart2code.json': json.dumps(records).encode(), 'json/chart2code_sot.json': json.dumps(records).encode()})
    archive(path / 'images.tar.gz', {f'images/bar_{n}.png': picture(n) for n in pictures})
    return path


# ---- Chart2Code-160k

def test_chart2code_is_read_from_its_archives_and_every_loss_has_a_reason(tmp_path, capsys):
    good = PROGRAM.format(n=1)
    records = [
        llava(0, fenced(good)),
        llava(1, fenced(good.replace('\n', '\r\n'))),
        llava(2, f'```python\n{good}'),      # the fence is never closed
        llava(3, fenced(good), image='images/nowhere.png'),
        llava(0, fenced(PROGRAM.format(n=9))),
        llava(5, 'I cannot.'),
        llava(6, fenced('import matplotlib.pyplot as plt\nplt.plot([1, 2\n')),
        llava(7, fenced(good + '#' * 1_000_001)),
        llava(8, fenced(good + "plt.title('\ud800')\n")),
        {'id': 'x'},
        'no record',
    ]
    source = chart2code(tmp_path / 'source', records, pictures=(0, 1, 2, 5, 6, 7, 8))
    assert prepare('chart2code_160k', source, tmp_path) == 0
    found = manifest(tmp_path, 'chart2code_160k')
    assert found['counts'] == {'train': 3} and found['drops'] == {
        'image missing': 1, 'duplicate id': 1, 'program missing': 1, 'program does not parse': 1, 'program over 1000000 bytes': 1,
        'not UTF-8': 1, 'record of another form': 2,
    }  # fmt: skip
    card = next(tmp_path.glob('chart2code_160k/*/*/README.md')).read_text()
    assert 'Repaired: broken fence 1' in card and 'chart2code_160k/direct/bar_3: image missing' in card and 'xxxllz' in card
    charts = open_charts(tmp_path, 'chart2code_160k', 'train')
    assert [chart.id for chart in charts] == [f'chart2code_160k/direct/bar_{n}' for n in range(3)]
    assert all(chart.program == good.strip('\n') for chart in charts) and charts[1].image.shape == (30, 40, 3)
    assert prepare('chart2code_160k', source, tmp_path) == 0
    assert 'stands already' in capsys.readouterr().out
    assert not [file for file in (tmp_path / '.building').iterdir() if not file.name.endswith('.lock')]


def test_steps_of_thought_become_the_thoughts_of_the_response(tmp_path):
    source = chart2code(tmp_path / 'source', [llava(0, 'Step 1: bars.\nStep 2: red.\n' + fenced(PROGRAM.format(n=1)))])
    assert prepare('chart2code_160k', source, tmp_path, '--variant', 'sot') == 0
    response = parse_response(open_examples(tmp_path, 'chart2code_160k', 'train')[0].responses[0])
    assert response.think.startswith('Step 1: bars.') and response.well_formed


def test_half_an_archive_of_pictures_gives_what_it_holds_and_half_of_the_records_is_refused(tmp_path, capsys):
    source = chart2code(tmp_path / 'source', [llava(n, fenced(PROGRAM.format(n=n + 1))) for n in range(12)])
    whole = (source / 'images.tar.gz').read_bytes()
    (source / 'images.tar.gz').write_bytes(whole[: len(whole) // 2])
    assert prepare('chart2code_160k', source, tmp_path / 'a') == 0
    found = manifest(tmp_path / 'a', 'chart2code_160k')
    assert found['drops']['archive is not whole: images.tar.gz'] == 1
    assert 2 < found['counts']['train'] < 10 and found['counts']['train'] + found['drops']['image missing'] == 12
    whole = (source / 'json.tar.gz').read_bytes()
    (source / 'json.tar.gz').write_bytes(whole[: len(whole) // 2])
    assert prepare('chart2code_160k', source, tmp_path / 'b') == 2
    assert 'json.tar.gz is not whole' in capsys.readouterr().err and not (tmp_path / 'b' / 'chart2code_160k').exists()


@pytest.mark.parametrize('method, described', [(zipfile.ZIP_STORED, False), (zipfile.ZIP_DEFLATED, False), (zipfile.ZIP_DEFLATED, True)])
def test_half_a_zip_archive_gives_the_members_before_the_cut(tmp_path, method, described):
    class Pipe(io.BytesIO):
        """Cannot be sought in, so that sizes stand behind the members."""

        def seekable(self):
            return not described

        def tell(self):
            if described:
                raise OSError
            return super().tell()

    contents = {f'a/{n}.png': picture(n) + bytes(3_000) for n in range(10)}
    with zipfile.ZipFile(pipe := Pipe(), 'w', method) as out:
        out.mkdir('a') if not described else None
        for name, content in contents.items():
            out.writestr(name, content)
    whole = pipe.getvalue()
    for share, least in ((0.5, 4), (0.97, 9)):
        (tmp_path / 'cut.zip').write_bytes(whole[: int(share * len(whole))])
        target, tally = tmp_path / f'target_{share}', Tally()
        unpack(tmp_path / 'cut.zip', target, tally)
        found = {path.relative_to(target).as_posix(): path.read_bytes() for path in target.rglob('*.png')}
        assert least <= len(found) <= 10 and all(contents[name] == content for name, content in found.items())
        assert dict(tally.drops) == {'archive is not whole: cut.zip': 1}


# ---- verification

def test_golden_programs_that_fail_hang_or_are_unsteady_are_dropped(tmp_path):
    programs = [PROGRAM.format(n=1), 'import matplotlib.pyplot as plt\nplt.plot(x)\n', HANGING, UNSTEADY, 'x = 1\n']
    source = tmp_path / 'ori_500'
    source.mkdir()
    for n, program in enumerate(programs):
        (source / f'bar_{n}.py').write_text(program)
        (source / f'bar_{n}.png').write_bytes(picture(n))
    more = ['--verify', 'fixed', '--seconds', '2']
    assert prepare('chartmimic', source, tmp_path / 'out', *more) == 0
    found = manifest(tmp_path / 'out', 'chartmimic')
    assert found['counts'] == {'test': 1} and sum(found['drops'].values()) == 4
    assert found['drops']['golden program: timeout'] == 1 and found['drops']['golden program: error: NameError'] == 1
    assert found['drops']['golden program: two executions differ'] == 1


def test_a_build_that_was_stopped_goes_on_with_the_verdicts_it_has(tmp_path, monkeypatch):
    source = tmp_path / 'ori_500'
    source.mkdir()
    for n in range(3):
        (source / f'bar_{n}.py').write_text(PROGRAM.format(n=n))
    submitted = []

    class Counting(Sandbox):
        def submit(self, program):
            submitted.append(program)
            if len(submitted) == 3:
                raise OSError('the machine stops')
            return super().submit(program)

    monkeypatch.setattr('recoder_jax.data.released.Sandbox', Counting)
    monkeypatch.setattr('recoder_jax.data.released.AHEAD', 0)
    more = ['--missing-image', 'render']
    assert prepare('chartmimic', source, tmp_path / 'out', *more) == 2
    assert prepare('chartmimic', source, tmp_path / 'out', *more) == 0
    assert sorted(submitted) == sorted([*(PROGRAM.format(n=n) for n in range(3)), PROGRAM.format(n=2)])
    charts = open_charts(tmp_path / 'out', 'chartmimic', 'test')
    assert len(charts) == 3 and charts[0].image.shape == (100, 200, 3)


def test_verdicts_outlive_a_kill_and_a_line_that_was_cut_off(tmp_path):
    verdicts = Verdicts(tmp_path / 'v')
    verdicts.keep('a', 'ok', np.zeros((4, 5, 3), np.uint8))
    verdicts.keep('b', 'timeout', None)
    with (tmp_path / 'v' / 'verdicts.jsonl').open('a') as file:
        file.write('\n{"program": "c", "verd')
    again = Verdicts(tmp_path / 'v')
    again.keep('d', 'ok', None)
    found = Verdicts(tmp_path / 'v')
    assert [found.find(key) for key in 'abcd'] == ['ok', 'timeout', None, 'ok'] and found.render('a').shape == (4, 5, 3) and found.render('b') is None


# ---- benchmarks

def test_both_layouts_of_chartmimic_are_read_with_type_and_difficulty(tmp_path, capsys):
    files = {f'{subset}/{stem}.{ending}': PROGRAM.format(n=2).encode() if ending == 'py' else picture(1)
             for subset in ('direct_600', 'customized_600') for stem in ('bar_1', 'HR_3') for ending in ('py', 'png')}
    files |= {'direct_600/latin_1.py': b'# caf\xe9\n', 'direct_600/latin_1.png': picture(2), 'direct_600/line_2.py': PROGRAM.format(n=3).encode(),
              'direct_600/line_2.pdf': b'%PDF', 'direct_600/pie_1.png': picture(3), 'direct_600/box_1.py': PROGRAM.format(n=4).encode(),
              'direct_600/box_1.png': b'\x89PNG cut', 'hard_list.json': b'["HR_3"]', '../evil.py': b'x = 1'}  # fmt: skip
    archive(tmp_path / 'test.tar.gz', files)
    assert prepare('chartmimic', tmp_path / 'test.tar.gz', tmp_path) == 0
    charts = {chart.id: chart.kind for chart in open_charts(tmp_path, 'chartmimic', 'test')}
    assert charts == {'chartmimic/direct_600/difficulty_hard/HR_3': 'HR', 'chartmimic/direct_600/bar_1': 'bar'}
    assert manifest(tmp_path, 'chartmimic')['drops'] == {
        'path leads out of the archive': 1, 'not UTF-8': 1, 'image missing': 1, 'program missing': 1, 'image damaged': 1}
    (tmp_path / 'both' / 'ori_500').mkdir(parents=True)
    (tmp_path / 'both' / 'direct_1800').mkdir()
    assert prepare('chartmimic', tmp_path / 'both', tmp_path / 'x') == 2
    assert 'several subsets (direct_1800, ori_500); choose with --subset' in capsys.readouterr().err


def customized(path, subset, shown, rows, stems=('bar_1', 'HR_3')):
    """ChartMimic's two directories of figures, and instructions as its code repository has them."""
    for n, (folder, endings) in enumerate(((subset, ('py', 'png')), (shown, ('png',)))):
        (path / folder).mkdir(parents=True)
        for stem in stems:
            for ending in endings:
                (path / folder / f'{stem}.{ending}').write_bytes(PROGRAM.format(n=2).encode() if ending == 'py' else picture(10 * n + len(stem)))
    (path / 'dimentions_info_edit.jsonl').write_text('\n'.join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return path


def instruction(name, **more):
    return {'idx': name, 'instruction': f'Draw x = [1, 2] in the style of the image. ({name})', 'width': 8.0, 'height': 6, 'code': 'x'} | more


def test_customized_charts_hide_their_target_behind_an_instruction_and_the_figure_it_refers_to(tmp_path, capsys):
    rows = [instruction('bar_1'), instruction('bar_1', instruction='a second one'), '{"idx": "HR_3", "instr', instruction('line_1', width='wide'), instruction('pie_1')]
    source = customized(tmp_path / 'v2', 'customized_600', 'direct_600', rows, ('bar_1', 'HR_3', 'line_1', 'pie_1'))
    (source / 'direct_600' / 'pie_1.png').unlink()
    assert prepare('chartmimic', source, tmp_path, '--task', 'customized') == 0
    (chart,) = open_charts(tmp_path, 'chartmimic/customized', 'test')
    assert chart.id == 'chartmimic/customized_600/bar_1' and chart.program == PROGRAM.format(n=2)
    assert chart.instruction == 'Draw x = [1, 2] in the style of the image. (bar_1)\nThe figure has figsize=(8.0, 6.0).'
    assert np.array_equal(chart.shown, decode_image(picture(15))) and np.array_equal(chart.image, decode_image(picture(5)))
    assert manifest(tmp_path, 'chartmimic')['drops'] == {'instruction of another form': 2, 'instruction missing': 2, 'reference missing': 1}
    old = customized(tmp_path / 'v1', 'customized_500', 'ori_500', [instruction('bar_1', instruction='new')])
    (old / 'legacy').mkdir()
    (old / 'legacy' / 'dimentions_info_edit.jsonl').write_text(json.dumps(instruction('bar_1', instruction='old')))
    assert prepare('chartmimic', old, tmp_path / 'old', '--task', 'customized') == 0
    assert open_charts(tmp_path / 'old', 'chartmimic', 'test')[0].instruction.startswith('old\n')
    capsys.readouterr()
    for missing, words in (('direct_600', 'no direct_600, whose figures'), ('dimentions_info_edit.jsonl', 'put that of ChartMimic')):
        (source / missing).rename(tmp_path / missing)
        assert prepare('chartmimic', source, tmp_path / 'x', '--task', 'customized') == 2 and words in capsys.readouterr().err
        (tmp_path / missing).rename(source / missing)


def test_both_layouts_of_plot2code_are_read(tmp_path):
    old, new = tmp_path / 'old', tmp_path / 'new'
    for directory in (old / 'ground_truth', new / 'images'):
        directory.mkdir(parents=True)
        for n in range(2):
            (directory / f'ground_truth_image_{n}.png').write_bytes(picture(n))
    records = [{'code': PROGRAM.format(n=n), 'instruction': 'Draw.'} for n in range(2)]
    (old / 'ground_truth_code_with_instruction.jsonl').write_text('\n'.join(map(json.dumps, records)) + '\nnot json\n{"a": 1}\n{"code": 3}\n[1]\n')
    (new / 'metadata.jsonl').write_text('\n'.join(json.dumps({'file_name': f'images/ground_truth_image_{n}.png', **record}) for n, record in enumerate(records)))
    for source, drops in ((old, {'record of another form': 4}), (new, {})):
        assert prepare('plot2code', source, tmp_path / source.name / 'out') == 0
        charts = open_charts(tmp_path / source.name / 'out', 'plot2code', 'test')
        assert [chart.id for chart in charts] == ['plot2code/0', 'plot2code/1'] and manifest(tmp_path / source.name / 'out', 'plot2code')['drops'] == drops


def test_chartx_is_read_with_its_two_files_and_groups_of_types(tmp_path):
    def record(kind, n):
        return {'chart_type': kind, 'imgname': f'{kind}_{n}', 'img': f'./{kind}/png/{kind}_{n}.png', 'topic': 'Food', 'title': f' Title {n}', 'csv': 'a \\t b \\n 1 \\t 2 \\n ',
                'redrawing': {'input': 'Redraw.', 'output': PROGRAM.format(n=n)}, 'QA': {}}

    with zipfile.ZipFile(tmp_path / 'ChartX_png.zip', 'w') as out:
        for kind in ('bar_chart', 'rose'):
            for n in range(5):
                out.writestr(f'{kind}/png/{kind}_{n}.png', picture(n))
    (tmp_path / 'ChartX_annotation.json').write_text(json.dumps([
        record('bar_chart', 0), record('rose', 1), {'img': 3}, record('rose', 2) | {'csv': None}, record('rose', 3) | {'title': ''}, record('rose', 4) | {'csv': '\ud800'}, record('rose', 4) | {'chart_type': 3}]))
    (tmp_path / 'ChartX_annotation_val.json').write_text(json.dumps([record('rose', 0)]))
    assert prepare('chartx', tmp_path, tmp_path / 'out') == 0
    assert [chart.id for chart in open_charts(tmp_path / 'out', 'chartx', 'test+validation')] == [
        'chartx/test/difficulty_easy/bar_chart/bar_chart_0', 'chartx/test/difficulty_hard/rose/rose_1', 'chartx/validation/difficulty_hard/rose/rose_0']
    assert manifest(tmp_path / 'out', 'chartx')['drops'] == {'record of another form': 3, 'title missing': 1, 'not UTF-8': 1}
    chart = open_charts(tmp_path / 'out', 'chartx', 'test')[1]
    assert (chart.title, chart.csv, chart.kind) == (' Title 1', 'a \\t b \\n 1 \\t 2 \\n ', 'rose') and open_examples(tmp_path / 'out', 'chartx', 'test')[1].chart.csv


# ---- parquet

def rows(count):
    for n in range(count):
        yield {'prompt': [{'role': 'user', 'content': 'Draw.'}], 'reward_model': {'style': 'rule', 'ground_truth': PROGRAM.format(n=n)},
               'extra_info': {'index': n, 'image': f'charts/c_{n}.png'}}


def test_parquet_is_read_by_its_own_schema(tmp_path, capsys):
    pyarrow = pytest.importorskip('pyarrow')
    import pyarrow.parquet

    file = tmp_path / 'chart2code_160k.parquet'
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(rows(3))), file)
    (tmp_path / 'charts').mkdir()
    for n in range(2):
        (tmp_path / 'charts' / f'c_{n}.png').write_bytes(picture(n))
    assert prepare('mm_recoder', file, tmp_path / 'out') == 0
    charts = open_charts(tmp_path / 'out', 'mm_recoder', 'train')
    assert [(chart.id, chart.image.shape[0]) for chart in charts] == [(f'mm_recoder/chart2code_160k/{n}', size) for n, size in enumerate((30, 30, 100))]
    assert charts[2].program.strip() == PROGRAM.format(n=2).strip()
    file.write_bytes(file.read_bytes()[:-30])
    assert prepare('mm_recoder', file, tmp_path / 'cut') == 2
    assert 'not a whole parquet file' in capsys.readouterr().err


def test_an_ambiguous_schema_is_shown_and_can_be_named():
    two = [{'code': PROGRAM.format(n=n), 'other': PROGRAM.format(n=n + 1)} for n in range(3)]
    with pytest.raises(ValueError, match='the program may be code, other; name it with --column program=LEAF. The schema: columns'):
        find_roles(two, {}, 'columns')
    assert str(find_roles(two, {'program': 'other'}, '')['program']) == 'other'
    with pytest.raises(ValueError, match='names no role of'):
        find_roles(two, {'program': 'nowhere'}, '')


# ---- pieces

def test_pictures_are_found_by_the_end_of_their_path(tmp_path):
    for name in ('a/x.png', 'b/x.png', 'b/y.png'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b'')
    pictures = Pictures([tmp_path])
    assert pictures.find('./b/x.png') == tmp_path / 'b' / 'x.png' and pictures.find('elsewhere/y.png') == tmp_path / 'b' / 'y.png'
    assert pictures.find('x.png') is None and pictures.find('c/z.png') is None and pictures.find('') is None


def test_a_byte_order_mark_is_not_part_of_a_program():
    tally = Tally()
    assert checked_program(Item('i', b'\xef\xbb\xbfx = 1\r\n', None), tally) == 'x = 1\n' and tally.repairs['Windows line ends'] == 1


def test_bad_sources_are_one_sentence(tmp_path, capsys):
    (tmp_path / 'empty').mkdir()
    for name in ('chart2code_160k', 'chartmimic', 'plot2code', 'chartx', 'mm_recoder'):
        for source in (tmp_path / 'nowhere', tmp_path / 'empty'):
            assert prepare(name, source, tmp_path / 'out') == 2
            error = capsys.readouterr().err.strip().splitlines()
            assert len(error) == 1 and 'give' in error[0]
    assert prepare('chartmimic', tmp_path / 'empty', tmp_path / 'out', '--subset', 'direct_6') == 2
    assert not list((tmp_path / 'out').glob('*/*'))


# ---- leakage

def test_leaks_are_found_by_program_pixels_and_looks(tmp_path):
    def noise(seed):
        return np.random.default_rng(seed).integers(0, 256, (64, 80, 3), dtype=np.uint8)

    close = noise(3).copy()
    close[:2, :2] = 0
    train = [Chart('t0', noise(0), 'x = 1  # one'), Chart('t1', noise(1), 'y = 1'), Chart('t2', noise(3), 'z = 1'), Chart('t3', noise(4), '')]
    test = [Chart('b0', noise(10), 'x=1'), Chart('b1', noise(1), 'other = 2'), Chart('b2', close, 'more = 3'), Chart('b3', noise(11), '')]
    assert [(pair.first, pair.second, pair.same) for pair in find_leaks(train, test)] == [('t0', 'b0', 'program'), ('t1', 'b1', 'picture'), ('t2', 'b2', 'looks')]


def test_the_door_reports_leaks_between_prepared_sets(world, tmp_path, capsys):
    assert main(['leakage', 'chart_world:test', 'chart_world:test', '--data', world, '--out', str(tmp_path / 'leaks.json'), '--near', '0']) == 0
    assert 'same program 6' in capsys.readouterr().out and len(json.loads((tmp_path / 'leaks.json').read_text())) >= 6
    assert main(['leakage', 'chart_world', 'chart_world:test', '--data', world]) == 2
    assert 'write NAME:SPLIT' in capsys.readouterr().err
