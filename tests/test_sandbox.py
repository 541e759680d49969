"""Promises of the sandbox: typed ends, walls, healing, one draw."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from recoder_jax.charts.elements import Elements
from recoder_jax.charts.execution import Limits, Status
from recoder_jax.charts.frames import Ending
from recoder_jax.charts.reader import Reader
from recoder_jax.charts.sandbox import Sandbox
from recoder_jax.charts.scratch import empty_directory

HEAD = 'import matplotlib.pyplot as plt\nimport numpy as np\nimport os\n'
CHART = HEAD + 'plt.bar([1, 2], [3, 4])\nplt.title("kept")\nplt.savefig("chart.png")\n'
LIMITS = Limits(seconds=8, memory_mb=1024, file_mb=4)


@pytest.fixture(scope='module')
def sandbox():
    with Sandbox(workers=2, limits=LIMITS, seed=7) as pool:
        yield pool


def wall(sandbox, *names):
    missing = [name for name in names if not sandbox.layers[name]]
    if missing:
        pytest.skip(f'this machine does not offer {missing}')


def test_execution_gives_render_and_elements(sandbox):
    execution = sandbox.execute(HEAD + 'plt.figure(figsize=(3, 2), dpi=37)\nplt.bar([1], [2], color="#ff0000")\n'
                                       'plt.subplots_adjust(top=0.6)\nplt.title("one\\ntwo")\nplt.savefig("x.pdf", dpi=300)')
    assert execution.status is Status.ok and execution.log == '' and execution.seconds > 0
    assert execution.render.shape == (200, 300, 3) and execution.render.dtype == np.uint8
    assert execution.elements == Elements(('one', 'two'), ((1, 1, 0, 0, 0, 0),), (('bar', 1),), (('bar', '#FF0000'),), (('bar', 'y', (2.0,)),))
    assert Elements.from_json(execution.elements.to_json()) == execution.elements


def test_render_equals_savefig_at_100_dots(sandbox, tmp_path):
    program = HEAD + 'fig, ax = plt.subplots(figsize=(2.24, 2.24))\nax.plot([1, 3, 2], "o-")\nax.set_title("t")\n'
    save = f'import matplotlib\nmatplotlib.use("Agg")\n{program}plt.savefig({str(tmp_path / "x.png")!r}, dpi=100)\n'
    subprocess.run([sys.executable, '-c', save], check=True)
    from PIL import Image
    expected = np.asarray(Image.open(tmp_path / 'x.png').convert('RGB'))
    np.testing.assert_array_equal(sandbox.execute(program).render, expected)


@pytest.mark.parametrize('program, texts', [
    ('plt.title("first"); plt.savefig("a.png"); plt.figure(); plt.title("second")', ('first',)),
    ('plt.title("first"); plt.savefig("a.png"); plt.figure(); plt.title("second"); plt.savefig("b.png")', ('second',)),
    ('plt.title("first"); plt.figure(); plt.title("second")', ('second',)),
    ('plt.title("saved"); plt.savefig("a.png"); plt.clf()', ('saved',)),
    ('plt.title("shown"); plt.show(); plt.close("all")', ('shown',)),
    ('plt.title("closed"); plt.savefig("a.png"); plt.close()', ('closed',)),
])
def test_figure_is_the_one_saved_last_else_the_current_one(sandbox, program, texts):
    assert sandbox.execute(HEAD + program).elements.texts == texts


def test_unseeded_numbers_repeat(sandbox):
    program = HEAD + ('import random\nplt.plot(np.random.rand(9)); plt.plot(np.random.default_rng().random(9))\n'
                      'plt.plot([random.random() for _ in range(9)])')
    renders = [sandbox.execute(f'{program}\n# {i}').render for i in range(3)]
    assert all(np.array_equal(renders[0], render) for render in renders[1:])
    two = HEAD + 'a, b = np.random.default_rng().random(), np.random.default_rng().random()\nassert a != b\nplt.plot([a])'
    assert sandbox.execute(two).ok


def test_execute_all_keeps_order_and_runs_equal_programs_once(sandbox):
    titles = ['a', 'b', 'a', 'c', 'b']
    executions = sandbox.execute_all([HEAD + f'plt.title("{title}")' for title in titles])
    assert [execution.elements.texts for execution in executions] == [(title,) for title in titles]
    assert executions[0] is executions[2] and executions[1] is executions[4]


def test_log_names_the_line_of_the_program_and_no_path_of_the_machine(sandbox):
    execution = sandbox.execute(HEAD + 'def draw():\n    plt.bar([1, 2], [1, 2, 3])\ndraw()\n')
    assert execution.status is Status.error
    assert 'File "program.py", line 5, in draw' in execution.log and 'plt.bar([1, 2], [1, 2, 3])' in execution.log
    assert execution.log.splitlines()[-1].startswith('ValueError: shape mismatch')
    assert 'site-packages' not in execution.log and len(execution.log) <= 2_000


ENDS = {
    'exception': ('1 / 0', 'error'),
    'syntax error': ('plt.plot((', 'error'),
    'null byte': ('x = 1\0', 'error'),
    'lone surrogate': ('x = "\ud800"', 'error'),
    'exit code': ('import sys; sys.exit(3)', 'error'),
    'exit without code keeps the figure': ('import sys; plt.plot([1]); sys.exit()', 'ok'),
    'end of the own process': ('os._exit(0)', 'forbidden'),
    'end of the own process with a code': ('os._exit(9)', 'error'),
    'no figure': ('x = 1', 'no_figure'),
    'empty program': ('', 'no_figure'),
    'recursion': ('def f(): f()\nf()', 'error'),
    'deep nesting': ('x = ' + '(' * 5000 + ')' * 5000, 'error'),
    'memory in one go': ('x = bytearray(8 << 30)', 'memory'),
    'memory by pieces': ('x = []\nwhile True: x.append(bytearray(10_000_000))', 'memory'),
    'memory by numpy': ('x = np.ones((40_000, 40_000))', 'memory'),
    'memory while drawing': ('plt.imshow(np.ones((30_000, 30_000)))', 'memory'),
    'huge figure': ('plt.figure(figsize=(10_000, 10_000)); plt.savefig("x.png")', 'output'),
    'huge dpi of its own is no matter': ('plt.figure(figsize=(1, 1), dpi=1e5); plt.plot([1]); plt.savefig("x.png")', 'ok'),
    'figure without size': ('plt.figure(figsize=(0.001, 0.001)); plt.savefig("x.png")', 'error'),
    'output flood': ('import sys\ns = "x" * 1_000_000\nfor _ in range(1000): print(s); sys.stderr.write(s)\nplt.plot([1])', 'ok'),
    'huge exception text': ('raise ValueError("x" * 200_000_000)', 'error'),
    'one large file': ('open("x", "wb").write(b"0" * (64 << 20))', 'error'),
    'segmentation fault': ('import ctypes; ctypes.string_at(0)', 'killed'),
    'abort': ('os.abort()', 'killed'),
    'kill itself': ('import signal; os.kill(os.getpid(), signal.SIGTERM)', 'killed'),
    'many threads': ('import threading, time\nfor _ in range(10_000): threading.Thread(target=time.sleep, args=(9,)).start()', 'error'),
    'raise own limits': ('import resource as r; r.setrlimit(r.RLIMIT_NOFILE, (5, 5))', 'error'),
}


@pytest.mark.parametrize('program, status', ENDS.values(), ids=ENDS.keys())
def test_every_end_is_typed(sandbox, program, status):
    execution = sandbox.execute(HEAD + program)
    assert execution.status.value == status, execution.log
    assert (execution.render is not None) == (execution.elements is not None) == execution.ok
    assert execution.ok or execution.log


HANGS = {
    'cpu loop': 'while True: pass',
    'sleep': 'import time; time.sleep(100)',
    'sleep that catches all': 'import time\nwhile True:\n  try: time.sleep(100)\n  except BaseException: pass',
    'block on a pipe': 'r, w = os.pipe(); os.read(r, 1)',
    'exception whose text hangs': 'class E(Exception):\n  def __str__(self):\n    while True: pass\nraise E()',
}


@pytest.fixture(scope='module')
def hasty():
    with Sandbox(workers=2, limits=Limits(seconds=1)) as pool:
        yield pool


@pytest.mark.parametrize('program', HANGS.values(), ids=HANGS.keys())
def test_no_program_outlives_its_deadline(hasty, program):
    execution = hasty.execute(HEAD + program)
    assert execution.status is Status.timeout and 'within 1 s' in execution.log


# Programs that try something the walls deny, and end with an uncaught PermissionError, or with a FileNotFoundError
# where nothing outside exists for them. {secret}: a file outside.
DENIED = {
    'read a file outside': ('open("{secret}").read()', 'landlock'),
    'read a file through a link': ('os.symlink("{secret}", "l"); open("l").read()', 'landlock'),
    'hard link to a file': ('os.link("{secret}", "l"); open("l").read()', 'landlock'),
    'read the environment of the parent': ('open(f"/proc/{os.getppid()}/environ").read()', 'landlock'),
    'read own memory map': ('open("/proc/self/maps").read()', 'landlock'),
    'list a directory outside': ('os.listdir("{folder}")', 'landlock'),
    'write a file outside': ('open("{folder}/new", "w").write("x")', 'landlock'),
    'overwrite a file outside': ('open("{secret}", "w").write("x")', 'landlock'),
    'truncate a file outside': ('os.truncate("{secret}", 0)', 'landlock'),
    'remove a file outside': ('os.unlink("{secret}")', 'landlock'),
    'leave a file in shared memory': ('open("/dev/shm/recoder-left", "w").write("x")', 'landlock'),
    'change the mode of a file outside': ('os.chmod("{secret}", 0o777)', 'seccomp'),
    'change the times of a file outside': ('os.utime("{secret}", (0, 0))', 'seccomp'),
    'fork': ('os.fork()', 'seccomp'),
    'fork bomb': ('while True: os.fork()', 'seccomp'),
    'subprocess': ('import subprocess; subprocess.run(["id"])', 'seccomp'),
    'multiprocessing': ('import multiprocessing as m; p = m.get_context("fork").Process(target=print); p.start()', 'seccomp'),
    'exec': ('os.execv("/bin/sh", ["sh", "-c", "id"])', 'seccomp'),
    'kill the parent': ('os.kill(os.getppid(), 9)', 'seccomp'),
    'kill everything': ('os.kill(-1, 9)', 'seccomp'),
    'tcp': ('import socket; socket.create_connection(("127.0.0.1", {port}))', 'seccomp'),
    'web': ('import urllib.request as u; u.urlopen("http://127.0.0.1:{port}/")', 'seccomp'),
    'udp': ('import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM)', 'seccomp'),
    'trace the parent': ('import ctypes; c = ctypes.CDLL(None, use_errno=True)\n'
                         'if c.ptrace(16, os.getppid(), 0, 0): raise PermissionError(ctypes.get_errno(), "ptrace")', 'seccomp'),
    'mount': ('import ctypes; c = ctypes.CDLL(None, use_errno=True)\n'
              'if c.mount(b"tmpfs", b"/tmp", b"tmpfs", 0, None): raise PermissionError(1, "mount")', 'seccomp'),
}


@pytest.fixture(scope='module')
def outside(tmp_path_factory):
    folder = tmp_path_factory.mktemp('outside')
    secret = folder / 'secret.txt'
    secret.write_text('s3cret')
    with socket.create_server(('127.0.0.1', 0)) as server:
        yield {'secret': str(secret), 'folder': str(folder), 'port': str(server.getsockname()[1])}


@pytest.mark.parametrize('program, layer', DENIED.values(), ids=DENIED.keys())
def test_walls_deny(sandbox, outside, program, layer):
    wall(sandbox, layer)
    for name, value in outside.items():
        program = program.replace('{' + name + '}', value)
    execution = sandbox.execute(HEAD + program)
    hidden = sandbox.layers['private_root'] and 'FileNotFoundError' in execution.log
    assert execution.status is (Status.error if hidden else Status.forbidden), execution.log
    assert 's3cret' not in execution.log
    with open(outside['secret']) as file:
        assert file.read() == 's3cret' and os.listdir(outside['folder']) == ['secret.txt']
    assert sandbox.execute(CHART).ok


def test_no_environment_and_no_descriptor_of_the_caller_reaches_a_program(monkeypatch):
    monkeypatch.setenv('RECODER_SECRET', 's3cret')
    with Sandbox(workers=1, limits=LIMITS) as pool:
        execution = pool.execute(HEAD + 'plt.title(str(sorted(os.environ)))')
        assert execution.ok and not any('SECRET' in text for text in execution.elements.texts)
        descriptors = 'n = 0\nfor d in range(64):\n  try: os.fstat(d); n += 1\n  except OSError: pass\nplt.title(str(n))'
        assert pool.execute(HEAD + descriptors).elements.texts == ('4',)      # the standard three and the result


def test_texts_over_the_cap_are_left_out():
    with Sandbox(workers=1, limits=LIMITS, replay='off') as pool:
        texts = pool.execute(HEAD + 'plt.axis("off")\nfor i in range(2100): plt.text(0, 0, "x" * (600 if i == 0 else 1))')
    assert len(texts.elements.texts) == 2000 and max(map(len, texts.elements.texts)) == 500


def test_a_full_disk_is_the_programs_own(sandbox):
    wall(sandbox, 'scratch_quota')
    execution = sandbox.execute(HEAD + 'for i in range(100_000): open(str(i), "wb").write(b"0" * 1_000_000)')
    assert execution.status is Status.error and 'No space left' in execution.log


def test_scratch_is_empty_for_the_next_program():
    with Sandbox(workers=1, limits=LIMITS) as pool:
        deep = 'for _ in range(1500):\n  os.mkdir("d"); os.chdir("d")\nos.symlink("/", "root"); plt.plot([1])'
        assert pool.execute(HEAD + deep).ok
        assert pool.execute(HEAD + 'open("left.txt", "w").write("x"); os.mkdir("d", 0); plt.plot([1])').ok
        execution = pool.execute(HEAD + 'plt.title(str(os.listdir(".")))')
        assert execution.elements.texts == ('[]',)


def test_emptying_follows_no_link_and_survives_any_depth(tmp_path):
    outside, scratch = tmp_path / 'outside', tmp_path / 'scratch'
    outside.mkdir()
    (outside / 'kept').write_text('x')
    empty_directory(str(scratch))
    (scratch / 'link').symlink_to(outside)
    (scratch / 'a').mkdir()
    (scratch / 'a' / 'file').write_text('x')
    home, start = os.open('.', os.O_RDONLY), os.open(scratch, os.O_RDONLY)
    os.fchdir(start)
    for _ in range(40):
        os.mkdir('d' * 200)             # together longer than a path may be
        os.chdir('d' * 200)
    os.fchdir(home)
    os.close(home), os.close(start)
    empty_directory(str(scratch))
    assert os.listdir(scratch) == [] and (outside / 'kept').read_text() == 'x'
    scratch.rmdir()
    scratch.symlink_to(outside)
    empty_directory(str(scratch))
    assert scratch.is_dir() and not scratch.is_symlink() and (outside / 'kept').exists()


def test_killing_a_server_amid_a_batch_loses_no_result(sandbox):
    programs = [HEAD + f'import time; time.sleep(0.1); plt.title("{i}")' for i in range(12)]
    futures = [sandbox.submit(program) for program in programs]
    before = set(sandbox.server_pids)
    for victim in list(before):
        time.sleep(0.1)
        os.kill(victim, signal.SIGKILL)
    assert [future.result(60).elements.texts for future in futures] == [(str(i),) for i in range(12)]
    assert before.isdisjoint(sandbox.server_pids)


def test_killing_the_process_of_a_program_runs_it_once_more():
    with Sandbox(workers=1, limits=LIMITS) as pool:
        assert pool.execute(CHART).ok                     # the replayer is there
        others = children_of(pool.server_pids[0])
        future = pool.submit(HEAD + 'import time; time.sleep(1); plt.title("again")')
        kill_new_child(pool.server_pids[0], others)
        assert future.result(30).elements.texts == ('again',)
        future = pool.submit(HEAD + 'import time; time.sleep(1); plt.title("again")')
        others |= {kill_new_child(pool.server_pids[0], others)}
        kill_new_child(pool.server_pids[0], others)
        assert future.result(30).status is Status.killed
        assert pool.execute(CHART).ok


def children_of(server):
    with open(f'/proc/{server}/task/{server}/children') as file:
        return set(map(int, file.read().split()))


def kill_new_child(server, others):
    """Kills a child that is none of `others`, the replayer or an earlier program."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if new := children_of(server) - others:
            os.kill(min(new), signal.SIGKILL)
            return min(new)
        time.sleep(0.01)
    raise AssertionError('the server has no new child')


def test_programs_that_name_a_heavy_library_run_where_it_is_imported():
    plain = 'import matplotlib.pyplot as plt\nplt.plot([1, 2])'
    with Sandbox(workers=1, replay='off') as sandbox:
        assert sandbox.execute(plain).ok and len(sandbox.server_pids) == 1
        assert sandbox.execute('import sys\nassert "sci" "py" not in sys.modules\n' + plain).ok      # not named
        assert sandbox.execute('import sys\nassert "scipy.stats" in sys.modules\n' + plain).ok
        assert len(sandbox.server_pids) == 2


def test_a_server_lost_while_another_works_leaves_nothing():
    plain = 'import matplotlib.pyplot as plt\nplt.plot([1, 2])'
    with Sandbox(workers=1) as sandbox:
        assert sandbox.execute('import scipy.stats\n' + plain).ok
        before = len(os.listdir('/proc/self/fd'))
        first, second = sandbox.server_pids
        os.kill(second, signal.SIGKILL)
        deadline = time.monotonic() + 30
        while len(sandbox.server_pids) == 2 and time.monotonic() < deadline:
            assert sandbox.execute(plain).ok
        assert sandbox.server_pids == [first]
        assert len(os.listdir('/proc/self/fd')) < before


def test_a_stopped_server_is_replaced():
    with Sandbox(workers=1, limits=Limits(seconds=1)) as pool:
        stopped = pool.server_pids[0]
        os.kill(stopped, signal.SIGSTOP)
        assert pool.execute(CHART).ok and pool.server_pids != [stopped]


def test_close_ends_programs_waiting_callers_and_processes():
    pool = Sandbox(workers=1, limits=Limits(seconds=60))
    running, waiting = (pool.submit(HEAD + f'import time; time.sleep(50) # {i}') for i in range(2))
    time.sleep(0.3)
    pids = pool.server_pids
    pool.close()
    pool.close()
    assert running.result(1).status is Status.killed and waiting.cancelled()
    assert not any(os.path.exists(f'/proc/{pid}') for pid in pids)
    with pytest.raises(ValueError, match='closed'):
        pool.submit(CHART)


def test_no_thread_descriptor_or_file_is_left(tmp_path, monkeypatch):
    monkeypatch.setattr('tempfile.tempdir', str(tmp_path))
    before = threading.active_count(), len(os.listdir('/proc/self/fd'))
    with Sandbox(workers=2, limits=LIMITS) as pool:
        pool.execute_all([CHART + f'# {i}' for i in range(4)] + [HEAD + 'os._exit(1)'])
    assert (threading.active_count(), len(os.listdir('/proc/self/fd'))) == before
    assert os.listdir(tmp_path) == []


FORGED = {
    'junk': b'junk', 'nothing': b'', 'length over the cap': b'\xff' * 8, 'not JSON': b'\2\0\0\0{x',
    'not a dictionary': b'\2\0\0\0[]', 'deep JSON': (100_000).to_bytes(4, 'little') + b'[' * 100_000,
    'unknown status': b'\x10\0\0\0{"status":"won"}',
}


@pytest.mark.parametrize('frame', FORGED.values(), ids=FORGED.keys())
def test_a_malformed_result_is_refused(sandbox, frame):
    assert Reader(LIMITS, 'off').read(frame, Ending(0, False, 0.1, 0.1)).status is Status.forbidden
    program = HEAD + (f'for d in range(3, 64):\n  try: os.write(d, {frame[:1000]!r})\n  except OSError: pass\n'
                      'plt.plot([1])')
    assert frame == b'' or sandbox.execute(program).status is Status.forbidden


def test_a_flood_in_the_result_pipe_costs_no_more_than_its_cap(sandbox):
    flood = HEAD + ('import fcntl\nfor d in range(4, 64):\n  try: fcntl.fcntl(d, 3)\n  except OSError: continue\n'
                    '  while True: os.write(d, b"x" * 1_000_000)')
    assert sandbox.execute(flood).status in (Status.output, Status.error)
    assert sandbox.execute(CHART).ok


def test_bad_arguments_are_one_sentence():
    with pytest.raises(ValueError, match='0 workers'):
        Sandbox(workers=0)
    with pytest.raises(ValueError, match='limit seconds is 0'):
        Limits(seconds=0)


def test_a_program_over_its_length_is_refused(sandbox):
    assert sandbox.execute('#' * 2_000_000).status is Status.error


