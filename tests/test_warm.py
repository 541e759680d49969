"""Promises of the warm fork server: fonts that stay whole across forks, memory that costs forked processes little."""

import json
import os
import resource
import subprocess
import sys

import numpy as np
import pytest

from recoder_jax.charts.sandbox import Sandbox

TEXTS = '''
import matplotlib.pyplot as plt
plt.rcParams['mathtext.fontset'] = {fontset!r}
fig, ax = plt.subplots(figsize=(5, 4))
for i in range(12):
    ax.text(0.05, i / 12, f'line {{i}} of text, {name}', fontsize=6 + i, weight=['normal', 'bold'][i % 2],
            style=['normal', 'italic'][i // 2 % 2], family=['sans-serif', 'serif', 'monospace'][i % 3])
ax.set_title(r'$\\frac{{a}}{{b}} \\sum_i x_i^2$')
'''
PROGRAMS = [TEXTS.format(fontset=fontset, name=name) for fontset in ('dejavusans', 'cm', 'stix') for name in 'ab']


PLAIN = '''
import json, sys
import matplotlib
matplotlib.use('Agg')
import matplotlib.pyplot as plt
for number, program in enumerate(json.load(sys.stdin)):
    with matplotlib.rc_context():
        exec(program, {})
        plt.savefig(f'{sys.argv[1]}/{number}.png', dpi=100)
        plt.close('all')
'''


def plain(programs, folder):
    """The figures of programs in an interpreter without a sandbox."""
    from PIL import Image
    subprocess.run([sys.executable, '-c', PLAIN, str(folder)], check=True, timeout=120, input=json.dumps(programs), text=True)
    return [np.asarray(Image.open(folder / f'{number}.png').convert('RGB')) for number in range(len(programs))]


@pytest.fixture(scope='module')
def sandbox():
    with Sandbox(workers=2, replay='off', isolation='forced') as pool:
        yield pool


def test_glyphs_are_those_of_plain_python_while_two_processes_draw(sandbox, tmp_path):
    futures = [sandbox.submit(program) for program in PROGRAMS * 4]
    expected = plain(PROGRAMS, tmp_path)
    for number, future in enumerate(futures):
        np.testing.assert_array_equal(future.result().render, expected[number % len(PROGRAMS)])


def test_a_program_can_write_vector_files_with_fonts_from_memory(sandbox):
    kinds = [('pdf', 3), ('pdf', 42), ('ps', 3), ('ps', 42), ('svg', None)]
    for kind, number in kinds:
        setting = f'plt.rcParams["{kind}.fonttype"] = {number}\n' if number else ''
        execution = sandbox.execute(
            f'import io\nimport matplotlib.pyplot as plt\n{setting}plt.title("text $x^2$")\nfile = io.BytesIO()\n'
            f'plt.savefig(file, format={kind!r})\nassert len(file.getvalue()) > 5000')
        assert execution.log == '' and execution.ok, kind


def forked(action):
    """Page faults of `action` in a forked process."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        kept = action()
        os.write(writing, str(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before).encode())
        os._exit(0 if kept is not None else 1)
    os.close(writing)
    with os.fdopen(reading) as answer:
        faults = int(answer.read())
    os.waitpid(child, 0)
    return faults


HOLES = '''
import sys
sys.path.insert(0, {tests!r})
from test_warm import forked
from recoder_jax.charts import heap
things = [bytes(size) for _ in range(3000) for size in range(8, 2000, 64)]
del things[::2]
def draw():
    return [bytes(size) for _ in range(40) for size in range(8, 2000, 64)]
before = forked(draw)
heap.settle()
print(before, forked(draw))
'''


def test_objects_of_a_forked_process_lie_side_by_side():
    code = HOLES.format(tests=os.path.dirname(__file__))
    said = subprocess.run([sys.executable, '-c', code], check=True, capture_output=True, text=True, timeout=120).stdout
    scattered, settled = map(int, said.split())
    assert 0 < settled < 0.1 * scattered


def test_texts_of_any_size_and_font_are_drawn_where_no_file_may_be_opened():
    with Sandbox(workers=1, replay='off', isolation='forced', tier='no_landlock') as sandbox:
        for program in PROGRAMS:
            execution = sandbox.execute(program)
            assert execution.ok and execution.log == ''
