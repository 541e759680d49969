"""The hostile programs under `tests/hostile`, and a world around them that shows what one of them broke.

A program is a file `GROUP/NAME.py`. The first line of its docstring says what it tries, a second line `expect: a|b`
which statuses it may end with. It reports success by an exception or a text that holds BROKEN, or QUOTA where only a
disk quota could have denied it; what it finds is noticed by the secrets in it. `@name@` stands for a thing of the
world. Numbers of system calls are those of x86-64.

A program of the group `forge` tries to be scored for what it does not show. Without the lines between `# forge` and
`# end` it is the honest program that draws the same picture; `golden.py` is what the forger wants to have drawn.
"""

import ctypes
import os
import platform
import re
import secrets
import select
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from recoder_jax.charts.execution import Execution

FOLDER = Path(__file__).parent / 'hostile'
GOLDEN = (FOLDER / 'golden.py').read_text()
_SHARED_KEY = '31326'           # 0x7A5E, the System V key that programs use
_SUBREAPER = 36                 # PR_SET_CHILD_SUBREAPER


@dataclass(frozen=True)
class Hostile:
    """One program.

    Attributes:
        name: group and file name, for example 'network/tcp'.
        text: the program, with placeholders.
        expect: values of Status it may end with; empty when any will do.
    """

    name: str
    text: str
    expect: frozenset[str]

    @property
    def group(self) -> str:
        return self.name.split('/')[0]

    @property
    def runs_here(self) -> bool:
        """Whether the numbers of system calls in it, if any, are those of this machine."""
        return platform.machine() == 'x86_64' or not re.search(r'syscall\(|fromhex', self.text)

    @property
    def honest(self) -> str:
        """A forger without the forgery."""
        return re.sub('^# forge\n.*?^# end\n?', '', self.text, flags=re.DOTALL | re.MULTILINE)


def corpus() -> dict[str, Hostile]:
    """Name -> program, sorted by name."""
    programs = {}
    for file in sorted(FOLDER.glob('*/*.py')):
        text, name = file.read_text(), f'{file.parent.name}/{file.stem}'
        expected = re.match(r'""".*\nexpect: (.*)\n"""', text)
        programs[name] = Hostile(name, text, frozenset(expected[1].split('|') if expected else ()))
    return programs


class World:
    """Things that programs must not read, reach, change or leave. A context manager.

    Its files can be read by every user, so that a changed user alone protects nothing.
    """

    def __enter__(self) -> 'World':
        self._top = tempfile.mkdtemp(prefix='outside-')
        os.chmod(self._top, 0o755)
        self.secrets = {kind: f'planted-{kind}-{secrets.token_hex(8)}'
                        for kind in ('file', 'golden', 'key', 'run', 'name', 'variable')}
        self._mark = f'recoder-mark-{secrets.token_hex(6)}'
        self._write_files()
        self._environment = os.environ.get('RECODER_SECRET')
        os.environ['RECODER_SECRET'] = self.secrets['variable']
        self._listen()
        self._start_victim()
        ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)      # what is orphaned stays a descendant
        self._before = self._tree(), descendants()
        return self

    def __exit__(self, *exception) -> None:
        ctypes.CDLL(None).prctl(_SUBREAPER, 0, 0, 0, 0)
        for pid in descendants() - self._before[1]:
            os.kill(pid, signal.SIGKILL)
        self._end_victim()
        for listener in self._listeners.values():
            listener.close()
        if self._environment is None:
            del os.environ['RECODER_SECRET']
        else:
            os.environ['RECODER_SECRET'] = self._environment
        shutil.rmtree(self._top)

    def _start_victim(self) -> None:
        self._victim = subprocess.Popen([sys.executable, '-c', 'import time; print(flush=True); time.sleep(3600)'],
                                        stdout=subprocess.PIPE)
        self._victim.stdout.readline()

    def _end_victim(self) -> None:
        self._victim.kill()
        self._victim.wait()
        self._victim.stdout.close()

    def _write_files(self) -> None:
        for path, text in {
                'folder/secret.txt': self.secrets['file'], f'folder/{self.secrets["name"]}': '',
                'folder/empty/.kept': '',
                'golden/golden.py': f'# {self.secrets["golden"]}\n{GOLDEN}',
                'home/.ssh/id_rsa': self.secrets['key'],
                'home/.cache/huggingface/token': self.secrets['key'], 'cwd/run.txt': self.secrets['run'],
                'cwd/rollouts/step_1.jsonl': self.secrets['run']}.items():
            file = Path(self._top, path)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(Path(self._top, 'folder/secret.png'))
        for path in Path(self._top).rglob('*'):
            path.chmod(0o755 if path.is_dir() else 0o644)

    def _listen(self) -> None:
        path = os.path.join(self._top, 'folder', 'socket')
        self._listeners = {'tcp': socket.create_server(('127.0.0.1', 0)),
                           'udp': socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
                           'unix': socket.socket(socket.AF_UNIX), 'abstract': socket.socket(socket.AF_UNIX)}
        self._listeners['udp'].bind(('127.0.0.1', 0))
        self._listeners['unix'].bind(path)
        os.chmod(path, 0o777)
        self._listeners['abstract'].bind(f'\0{self._mark}')
        for name in ('unix', 'abstract'):
            self._listeners[name].listen()
        places = {name: os.path.join(self._top, name) for name in ('folder', 'home', 'cwd')}
        self.names = places | {
            'secret': os.path.join(self._top, 'folder', 'secret.txt'),
            'golden': os.path.join(self._top, 'golden', 'golden.py'),
            'tcp': str(self._listeners['tcp'].getsockname()[1]), 'udp': str(self._listeners['udp'].getsockname()[1]),
            'unix': path, 'abstract': self._mark, 'mark': self._mark, 'parent': str(os.getpid())}

    def fill(self, text: str) -> str:
        """A program with the names of this world in place of `@name@`."""
        return re.sub('@([a-z]+)@', lambda match: (self.names | {'victim': str(self._victim.pid)})[match[1]], text)

    def leaks(self, execution: Execution) -> list[str]:
        """Which secrets an execution holds, and whether its program says that it broke something."""
        elements, chartmimic = execution.elements, getattr(execution, 'chartmimic', None)
        said = '\n'.join([execution.log, repr(elements), repr(chartmimic), getattr(execution, 'tampered', '')])
        accounts = [line for line in _lines('/etc/passwd') + _lines('/etc/shadow') if len(line) > 12]
        found = [name for name, secret in self.secrets.items() if secret in said]
        found += [f'line of the accounts: {line}' for line in accounts if line in said]
        found += ['BROKEN in the elements'] if 'BROKEN' in repr(elements) else []
        return found + re.findall(r'^[\w.]+: BROKEN.*$', execution.log, flags=re.MULTILINE)

    def damage(self) -> list[str]:
        """What is different since the last call, in sentences. Processes that end have two seconds for it."""
        tree, running = self._before
        patience = time.monotonic() + 2
        while descendants() - running and time.monotonic() < patience:
            time.sleep(0.05)
        now = self._tree()
        found = [f'{path} was {"made" if path not in tree else "removed" if path not in now else "changed"}'
                 for path in sorted(tree.keys() | now.keys()) if tree.get(path) != now.get(path)]
        for name, listener in self._listeners.items():
            if select.select([listener], [], [], 0)[0]:
                found.append(f'something arrived at the {name} socket')
                self._take(name, listener)
        if self._victim.poll() is not None or state_of(self._victim.pid) != 'S':
            found.append('the sentinel process was ended or stopped')
            self._end_victim()
            self._start_victim()
            running = running | {self._victim.pid}
        found += [f'process {pid} is left: {command_of(pid)}' for pid in sorted(descendants() - running)]
        own = os.path.expanduser('~'), os.getcwd()
        for folder in ('/', '/tmp', '/var/tmp', '/dev/shm', '/run', '/usr', '/etc', *own):
            found += [f'{folder}/{name} is left' for name in _names(folder) if self._mark in name]
        for path in _lines('/proc/sysvipc/shm') + _lines('/proc/sysvipc/msg') + _lines('/proc/sysvipc/sem'):
            if path.split()[0] == _SHARED_KEY:
                found.append('a System V object is left')
        self._before = now, descendants()
        return found

    def _take(self, name: str, listener: socket.socket) -> None:
        """Empties a listener, so that what arrived is told once."""
        while select.select([listener], [], [], 0)[0]:
            if name == 'udp':
                listener.recv(4096)
            else:
                listener.accept()[0].close()

    def _tree(self) -> dict[str, tuple]:
        tree = {}
        for folder, folders, files in os.walk(self._top):
            for name in folders + files:
                path = os.path.join(folder, name)
                status = os.lstat(path)
                content = Path(path).read_bytes() if stat.S_ISREG(status.st_mode) else b''
                tree[os.path.relpath(path, self._top)] = status.st_mode, status.st_uid, status.st_mtime_ns, content
        return tree


def descendants(root: int | None = None) -> set[int]:
    """Process ids below `root`, this process by default, those that have ended and wait to be reaped left out."""
    children: dict[int, list[int]] = {}
    for pid in map(int, filter(str.isdigit, os.listdir('/proc'))):
        try:
            state, parent = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[:2]
        except (OSError, ValueError):
            continue
        if state != 'Z':
            children.setdefault(int(parent), []).append(pid)
    found, waiting = set(), [root or os.getpid()]
    while waiting:
        new = children.get(waiting.pop(), [])
        found.update(new)
        waiting += new
    return found


def state_of(pid: int) -> str:
    """The letter of a process's state, '' when it is gone."""
    try:
        return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0]
    except (OSError, IndexError):
        return ''


def command_of(pid: int) -> str:
    try:
        return Path(f'/proc/{pid}/cmdline').read_bytes().replace(b'\0', b' ').decode(errors='replace')[:200]
    except OSError:
        return ''


def _lines(path: str) -> list[str]:
    try:
        return [line for line in Path(path).read_text(errors='replace').splitlines() if line.strip()]
    except OSError:
        return []


def _names(folder: str) -> Iterable[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []
