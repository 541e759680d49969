"""Promises of each tier of isolation that this machine can run, and of what is said about it."""

import json
import os
import platform
import signal
import socket
import subprocess
import sys
import time

import pytest

from recoder_jax.charts import sandbox as door
from recoder_jax.charts.execution import Limits, Status
from recoder_jax.charts.sandbox import Sandbox
from recoder_jax.charts.scratch import empty_directory, holds_more
from recoder_jax.charts.tiers import LAYERS, NO_TIER, TIERS, refusal, report, summary, tier_of

HEAD = 'import matplotlib.pyplot as plt\nimport numpy as np\nimport os\n'
CHART = HEAD + 'plt.bar([1, 2], [3, 4])\nplt.title("kept")\n'
LIMITS = Limits(seconds=10, file_mb=4)
ALL = dict.fromkeys(LAYERS, True)


@pytest.fixture(scope='module', params=TIERS)
def pool(request):
    try:
        with Sandbox(workers=1, limits=LIMITS, tier=request.param) as sandbox:
            if sandbox.tier != request.param:
                pytest.skip(f'this machine reaches {sandbox.tier}, not {request.param}')
            yield sandbox
    except ValueError as error:
        pytest.skip(f'tier {request.param}: {error}')


@pytest.fixture(scope='module')
def outside(tmp_path_factory):
    folder = tmp_path_factory.mktemp('outside')
    secret = folder / 'secret.txt'
    secret.write_text('s3cret')
    secret.chmod(0o666), folder.chmod(0o777)
    with socket.create_server(('127.0.0.1', 0)) as server:
        yield {'secret': str(secret), 'folder': str(folder), 'port': str(server.getsockname()[1]),
               'trainer': str(os.getpid()), 'package': str(os.path.dirname(door.__file__))}


def title(pool, program):
    execution = pool.execute(HEAD + program)
    assert execution.ok, execution.log
    return execution.elements.texts[0]


def test_charts_run_in_every_tier(pool):
    execution = pool.execute(CHART)
    assert execution.ok and execution.elements.texts == ('kept',), execution.log
    assert pool.execute(HEAD + '1 / 0').status is Status.error


# Programs that end ok where they got what they tried. {secret}: a file anybody may read and write.
TRIES = {
    'read a file outside': 'open("{secret}").read()',
    'read it through a link': 'os.symlink("{secret}", "l"); open("l").read()',
    'read it by a way up': 'open("../" * 40 + "{secret}").read()',
    'list a directory outside': 'os.listdir("{folder}")',
    'write a file outside': 'open("{folder}/new", "w").write("x")',
    'overwrite a file outside': 'open("{secret}", "w").write("x")',
    'empty a file by opening it to read': 'os.open("{secret}", os.O_RDONLY | os.O_TRUNC)',
    'truncate a file outside': 'os.truncate("{secret}", 0)',
    'remove a file outside': 'os.unlink("{secret}")',
    'rename a file outside': 'os.rename("{secret}", "{folder}/moved")',
    'change the mode of a file outside': 'os.chmod("{secret}", 0o700)',
    'change the times of a file outside': 'os.utime("{secret}", (0, 0))',
    'change this package': 'open("{package}/__init__.py", "a").write("")',
    'change matplotlib': 'import matplotlib; open(matplotlib.__file__, "a").write("")',
    'change the list of fonts': 'import matplotlib; open(os.path.join(matplotlib.get_cachedir(), "x"), "w").write("x")',
    'keep a file in shared memory': 'open("/dev/shm/recoder-left", "w").write("x")',
    'keep a file in the temporary directory': 'open("/tmp/recoder-left", "w").write("x")',
    'read the environment of the trainer': 'open("/proc/{trainer}/environ").read()',
    'read own memory map': 'open("/proc/self/maps").read()',
    'read users': 'assert "root" in open("/etc/passwd").read()',
    'start a process': 'os.fork()',
    'start a shell': 'import subprocess; subprocess.run(["id"])',
    'become another program': 'os.execv("/bin/sh", ["sh"])',
    'kill the fork server': 'os.kill(os.getppid(), 9)',
    'kill all': 'os.kill(-1, 9)',
    'ask whether the trainer is there': 'os.kill({trainer}, 0)',
    'have signals sent to the fork server':
        'import fcntl; r, w = os.pipe(); fcntl.fcntl(r, 10, 9); fcntl.fcntl(r, 8, os.getppid())',
    'make a unix socket': 'import socket; socket.socketpair()',
    'connect': 'import socket; socket.create_connection(("127.0.0.1", {port}))',
    'raise a limit': 'import resource as r; r.setrlimit(r.RLIMIT_CPU, (999, 999))',
    'lower the own priority': 'os.nice(1)',
    'make a named pipe': 'os.mkfifo("p")',
    'make a device': 'os.mknod("d", 0o20666, 259)',
}


@pytest.mark.parametrize('name', TRIES)
def test_no_program_gets_out(pool, outside, name):
    program = TRIES[name]
    for key, value in outside.items():
        program = program.replace('{' + key + '}', value)
    execution = pool.execute(f'{HEAD}{program}\nplt.title("got it")')
    assert execution.status in (Status.forbidden, Status.error), execution
    assert 's3cret' not in execution.log
    with open(outside['secret']) as file:
        assert file.read() == 's3cret' and os.listdir(outside['folder']) == ['secret.txt']
    assert os.stat(outside['secret']).st_mode & 0o777 == 0o666 and os.stat(outside['secret']).st_mtime > 1
    assert not os.path.exists('/dev/shm/recoder-left') and not os.path.exists('/tmp/recoder-left')


# Calls that no library needs and a hostile program tries by number (x86-64).
BY_NUMBER = (
    29, 41, 53, 57, 58, 59, 64, 68, 76, 86, 88 + 4, 90, 91, 92, 101, 105, 129, 133, 135, 141, 154, 155, 157, 160, 161,
    165, 166, 170, 175, 188, 200, 203, 222, 240, 246, 248, 250, 256, 259, 265, 268, 272, 275, 278, 279, 280, 294, 297,
    298, 300, 303, 304, 308, 310, 311, 317, 319, 321, 322, 323, 424, 425, 428, 430, 434, 437, 438, 442, 444, 447)


def test_calls_by_number_are_denied(pool):
    if platform.machine() != 'x86_64':
        pytest.skip('the numbers are those of x86-64')
    program = ('import ctypes\nc = ctypes.CDLL(None, use_errno=True)\nleft = []\n'
               f'for n in {BY_NUMBER}:\n  r = c.syscall(n, 0, 0, 0, 0, 0, 0)\n'
               '  if r != -1 or ctypes.get_errno() != 1: left.append(n)\nplt.title("left " + str(left))')
    execution = pool.execute(HEAD + program)
    if not execution.ok:
        assert 'ctypes' in execution.log       # it cannot even be loaded
    else:
        assert execution.elements.texts == ('left []',)


def test_nothing_outside_exists_in_a_private_root(pool, outside):
    if not pool.layers['private_root']:
        pytest.skip(f'tier {pool.tier} has no private root')
    tries = [outside['secret'], outside['folder'], '/proc', '/sys', '/boot', '/home', '/var', '/dev/shm', '/bin']
    assert title(pool, f'plt.title(str([p for p in {tries} if os.path.lexists(p)]))') == '[]'
    assert title(pool, 'plt.title(os.getcwd() + str(os.getppid()) + os.uname().nodename)') == '/job1host'
    assert 's3cret' not in title(pool, 'plt.title(open("/etc/passwd").read().split(":")[0])')


def test_programs_are_no_root_where_said(pool):
    if not pool.layers['ordinary_user']:
        pytest.skip('what programs read is closed to other users here')
    assert title(pool, 'plt.title(str(0 in os.getresuid() + os.getresgid()))') == 'False'


def test_threads_are_bounded(pool):
    flood = ('import threading, time\nthreading.stack_size(65536)\nn = 0\ntry:\n  while True:\n'
             '    threading.Thread(target=time.sleep, args=(60,), daemon=True).start(); n += 1\n'
             'except RuntimeError: pass\nplt.title(str(n))')
    number = int(title(pool, flood))
    assert 100 < number <= 256 if pool.layers['thread_limit'] else number == 0


FILLS = {
    'many files': 'for i in range(100_000): open(str(i), "w").close()',
    'large files': 'for i in range(100_000): open(str(i), "wb").write(b"0" * 1_000_000)',
    'a directory that cannot be listed':
        'os.mkdir("d", 0o300)\nfor i in range(100_000): open("d/" + str(i), "w").close()',
    'a deep tree': 'for i in range(100_000): os.mkdir("d"); os.chdir("d")',
}


@pytest.mark.parametrize('name', FILLS)
def test_a_full_scratch_directory_ends_its_program_only(pool, name):
    execution = pool.execute(HEAD + FILLS[name])
    assert execution.status in (Status.error, Status.output, Status.killed, Status.forbidden, Status.timeout), execution
    assert pool.execute(CHART).ok


def test_a_program_may_write_files_and_move_them_where_files_can_be_opened(pool):
    program = ('os.makedirs("a/b"); open("x", "w").write("1"); os.rename("x", "a/b/y")\n'
               'import tempfile; tempfile.NamedTemporaryFile().write(b"x")\nplt.title(open("a/b/y").read())')
    if pool.tier == 'no_landlock':
        assert pool.execute(HEAD + program).status is Status.forbidden
    else:
        assert title(pool, program) == '1'


def descendants(process):
    found, waiting = [], [process]
    while waiting:
        parent = waiting.pop()
        for task in os.listdir(f'/proc/{parent}/task'):
            with open(f'/proc/{parent}/task/{task}/children') as file:
                waiting += (children := list(map(int, file.read().split())))
                found += children
    return found


def running(process):
    try:
        with open(f'/proc/{process}/stat') as file:
            return file.read().rpartition(')')[2].split()[0] != 'Z'
    except FileNotFoundError:
        return False


@pytest.mark.parametrize('tier', ['full', 'container'])    # the others have the processes of one of these
def test_killing_any_process_amid_a_batch_loses_no_result_and_leaves_no_orphan(tier):
    before = set(descendants(os.getpid()))
    try:
        sandbox = Sandbox(workers=1, limits=LIMITS, tier=tier)
    except ValueError as error:
        pytest.skip(str(error))
    with sandbox:
        sleeper = HEAD + 'import time; time.sleep(0.2); plt.title("{0}")'
        seen = set(descendants(os.getpid())) - before
        others = len(seen)                  # the fork server, what it came from, its replayer
        for victim in range(others):
            futures = [sandbox.submit(sleeper.format(f'{victim} {i}')) for i in range(3)]
            time.sleep(0.3)
            processes = sorted(set(descendants(os.getpid())) - before)
            seen |= set(processes)
            os.kill(processes[min(victim, len(processes) - 1)], signal.SIGKILL)
            assert [future.result(90).elements.texts for future in futures] == [(f'{victim} {i}',) for i in range(3)]
        seen |= set(descendants(os.getpid())) - before
    deadline = time.monotonic() + 10
    while any(map(running, seen)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(running, seen))


def test_strict_starts_where_every_layer_holds():
    try:
        with Sandbox(workers=1, isolation='strict') as sandbox:
            assert all(sandbox.layers.values()) and sandbox.execute(CHART).ok
    except ValueError as error:
        assert 'is missing' in str(error)


def test_strict_names_the_missing_layers():
    with pytest.raises(ValueError, match="'strict' needs every layer and .*private_root.* is missing"):
        Sandbox(workers=1, isolation='strict', tier='container')


def test_unknown_words_are_one_sentence():
    for name in ('isolation', 'replay', 'tier'):
        with pytest.raises(ValueError, match=f"{name} is 'loose'; give one of "):
            Sandbox(**{name: 'loose'})


def test_a_tier_is_what_its_layers_make():
    assert tier_of(ALL, by_root=True) == 'full' and tier_of(ALL, by_root=False) == 'user_namespaces'
    assert tier_of(ALL | {'landlock': False}, by_root=True) == 'full'
    assert tier_of(ALL | {'private_root': False}, by_root=True) == 'container'
    assert tier_of(ALL | {'private_root': False, 'landlock': False}, by_root=True) == 'no_landlock'
    for layer in ('seccomp', 'limits', 'no_new_privs'):
        assert tier_of(ALL | {layer: False}, by_root=True) == NO_TIER


def test_a_machine_below_every_tier_is_refused_unless_forced():
    layers = ALL | {'seccomp': False}
    assert 'seccomp is missing' in refusal('auto', layers, NO_TIER)
    assert refusal('forced', layers, NO_TIER) == '' == refusal('auto', ALL, 'full') == refusal('strict', ALL, 'full')
    assert 'seccomp is missing' in refusal('strict', layers, NO_TIER)


def test_a_run_logs_its_tier_and_what_is_missing_in_one_line():
    assert summary(ALL, 'full') == 'sandbox in tier full, every layer holds'
    without = summary(ALL | {'private_root': False, 'scratch_quota': False}, 'container')
    assert without == 'sandbox in tier container, without private_root, scratch_quota'


def test_a_report_says_what_a_missing_layer_leaves_open():
    for name, layer in LAYERS.items():
        missing = report(ALL | {name: False}, 'container')
        assert f'MISSING  {name}' in missing and layer.without in missing.partition('not covered')[2]
        assert layer.without not in report(ALL, 'full').partition('not covered')[2]
    assert LAYERS['landlock'].without not in report(ALL | {'landlock': False}, 'no_landlock')


@pytest.mark.parametrize('tier', [None, 'container'])
def test_the_door_prints_tier_layers_and_what_is_open(tier):
    chosen = ['--tier', tier] if tier else []
    run = subprocess.run([sys.executable, '-m', 'recoder_jax.charts.sandbox', '--report', *chosen],
                         capture_output=True, text=True, timeout=200)
    assert run.returncode == 0 and 'not covered in this tier' in run.stdout, run.stderr
    assert all(f'  {name} ' in run.stdout for name in LAYERS)
    assert tier is None or run.stdout.startswith(f'tier {tier}:') or 'no_landlock' in run.stdout


def test_the_door_says_why_the_sandbox_does_not_start():
    run = subprocess.run([sys.executable, '-m', 'recoder_jax.charts.sandbox', '--report', '--tier', 'container',
                          '--isolation', 'strict'], capture_output=True, text=True, timeout=200)
    assert run.returncode == 2 and run.stdout == '' and run.stderr.count('\n') == 1 and 'is missing' in run.stderr


def test_counting_a_scratch_directory_stops_at_its_bounds(tmp_path):
    for i in range(20):
        (tmp_path / str(i)).write_bytes(b'0' * 8192)
    (tmp_path / 'up').symlink_to('/usr')
    assert not holds_more(str(tmp_path), 21, 1 << 20) and not holds_more(str(tmp_path / 'gone'), 0, 0)
    assert holds_more(str(tmp_path), 20, 1 << 20) and holds_more(str(tmp_path), 21, 20 * 4096)
    (tmp_path / 'unlisted').mkdir(0o300)
    assert holds_more(str(tmp_path), 100, 1 << 20)
    (tmp_path / 'unlisted').rmdir()
    assert not holds_more(str(tmp_path), 100, 1 << 20)


@pytest.mark.parametrize('name', ['d', 'd' * 250], ids=['many levels', 'a path too long to open'])
def test_what_lies_too_deep_to_be_counted_is_more(tmp_path, name):
    home = os.open('.', os.O_RDONLY)
    os.chdir(tmp_path)
    for level in range(102 if name == 'd' else 17):
        assert not holds_more(str(tmp_path), 1000, 1 << 20), level
        os.mkdir(name)
        os.chdir(name)
    open('hidden', 'w').close()
    os.fchdir(home)
    os.close(home)
    assert holds_more(str(tmp_path), 1000, 1 << 20)
    empty_directory(str(tmp_path))
    assert os.listdir(tmp_path) == []


ORDINARY = '''
import json, sys
from recoder_jax.charts.sandbox import Limits, Sandbox
out = []
for tier in ('user_namespaces', 'container'):
    try:
        with Sandbox(workers=1, limits=Limits(file_mb=4), tier=tier) as pool:
            programs = json.loads(sys.argv[1])
            out.append([pool.tier, [pool.execute(program).status.value for program in programs]])
    except ValueError as error:
        out.append([str(error), []])
print(json.dumps(out))
'''


def test_an_ordinary_user_is_contained_too(outside):
    if os.getuid() != 0:
        pytest.skip('this test runs as an ordinary user, and so did those above')
    import matplotlib
    packages = os.path.dirname(os.path.dirname(matplotlib.__file__))
    path = os.pathsep.join([os.getcwd(), packages])
    version = f'/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}'
    as_user = {'user': 65534, 'group': 65534, 'extra_groups': [], 'cwd': '/', 'capture_output': True, 'text': True,
               'env': {'PYTHONPATH': path, 'HOME': '/nonexistent', 'PATH': '/usr/bin:/bin'}}
    for python in filter(os.path.exists, (os.path.realpath(sys.executable), version)):
        try:
            found = subprocess.run([python, '-c', 'import matplotlib.ft2font, recoder_jax'], timeout=100, **as_user)
        except PermissionError:
            continue
        if found.returncode == 0:
            break
    else:
        pytest.skip('no Python here that an ordinary user can run with matplotlib')
    tries = [f'{HEAD}{program}\nplt.title("got it")' for program in (
        f'open({outside["secret"]!r}, "a").write("x")', 'os.fork()', f'os.kill({os.getpid()}, 0)')]
    run = subprocess.run([python, '-c', ORDINARY, json.dumps([CHART, *tries])], timeout=300, **as_user)
    assert run.returncode == 0, run.stderr
    for tier, statuses in json.loads(run.stdout):
        if tier in TIERS:
            assert statuses[0] == 'ok' and not {'ok', 'internal'} & set(statuses[1:]), (tier, statuses)
    with open(outside['secret']) as file:
        assert file.read() == 's3cret'
