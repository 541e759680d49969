"""The walls around a program: what is set up once in a fork server, and what is set up in each forked process.

    confine_server   namespaces and a private root, before the imports
    seal_server      user, capabilities, no_new_privs, Landlock, after them; says which layers hold and the tier
    confine_job      session, descriptors, resource limits, death with the server, seccomp
    confine_service  the same for a process of this package that reads what programs wrote

Each layer is tried, and whether it holds is reported by name. None is assumed.
"""

import dataclasses
import os
import resource
import select
import signal
import socket
import sys
import threading
from collections.abc import Callable

from recoder_jax.charts import linux, root_fs, seccomp
from recoder_jax.charts.execution import Limits
from recoder_jax.charts.linux import Linux
from recoder_jax.charts.syscalls import this_architecture
from recoder_jax.charts.tiers import LAYERS, NO_TIER, TIERS, tier_of
from recoder_jax.languages.language import Guest

SCRATCH_FILES = 4096
_FIRST_USER = 1_500_000_000      # users nobody has; the server's process id is added, so that servers differ
_NOBODY = 65_534                 # where a container maps fewer users
_DESCRIPTORS = 64
_GUEST_DESCRIPTORS = 1024
_THREADS = 256
_ANY_DESCRIPTOR = 1024            # over what a fork server has open
_SCOPES_VERSION = 6              # of Landlock


class Isolation:
    """Sets up the layers of one fork server and of the processes it forks.

    Attributes:
        layers: layer -> whether it holds; filled by confine_server and seal_server.
        tier: name of the tier, after seal_server.
        scratch: the scratch directory as programs see it.
    """

    def __init__(self, limits: Limits, scratch: str, cache: str, ceiling: str | None = None, guest: Guest | None = None):
        """cache: matplotlib's directory of caches, which exists. ceiling: a tier above which nothing is used. guest: what the renderer of programs
        starts."""
        self._guest, self._guest_path = guest, (guest.path() or '') if guest else ''
        self._limits = limits
        self._outside = scratch
        self._cache = cache
        names = list(TIERS)
        self._allowed = names[names.index(ceiling) if ceiling else 0:]
        self._linux = Linux()
        self._root: root_fs.PrivateRoot | None = None
        self._readable: list[str] = []
        self._first_process: int | None = None       # pipe that closes when the process this one came from ends
        self._user = os.geteuid()
        self._others = _threads_of(self._user)
        self._new_user = _FIRST_USER + os.getpid()
        self._by_root = False
        self._processes = 0                          # RLIMIT_NPROC, 0 without
        self._rules = seccomp.Rules()
        self.layers = dict.fromkeys(LAYERS, False)
        self.tier = NO_TIER
        self.scratch = scratch

    def confine_server(self, announce: Callable[[int], None]) -> None:
        """Namespaces and root. Call single-threaded, before the imports that may start threads.

        Returns in the process that goes on, which may be a fork: `announce` is called with its process id, as seen
        from here, before anything else happens in it.
        """
        more = (*self._guest.reads, os.path.dirname(self._guest_path)) if self._guest else ()
        self._readable = root_fs.system_paths(self._cache, more)
        if self._enter_namespaces(announce):
            root = root_fs.PrivateRoot(self._linux, self._readable, self._cache, 4 * self._limits.file_mb,
                                       SCRATCH_FILES, self._guest_path)
            if _in_child(lambda: root.enter(self._outside)):
                root.enter(self._outside)
                self._root, self._readable, self.scratch = root, ['/'], root_fs.SCRATCH
        self.layers['private_root'] = self.layers['scratch_quota'] = self._root is not None

    def _enter_namespaces(self, announce: Callable[[int], None]) -> bool:
        """Whether this process has mount rights in namespaces of its own; announces the process that goes on."""
        call = self._linux
        if 'user_namespaces' not in self._allowed:
            announce(os.getpid())
            return False
        self._by_root = 'full' in self._allowed and _in_child(lambda: call.unshare(linux.CLONE_NEWNS))
        if not self._by_root:
            if self._user == 0 and _in_child(lambda: self._step_down()):
                self._step_down()
            if not _in_child(self._enter_user_namespace):
                announce(os.getpid())
                return False
            self._enter_user_namespace()
        self.layers['network_namespace'] = _holds(lambda: call.unshare(linux.CLONE_NEWNET))
        self.layers['ipc_uts_namespaces'] = _holds(self._enter_nameless_host)
        self.layers['pid_namespace'] = _holds(lambda: call.unshare(linux.CLONE_NEWPID))
        if self.layers['pid_namespace']:
            self._fork_first_process(announce)
        else:
            announce(os.getpid())
        return True

    def _step_down(self) -> None:
        """From root to an ordinary user that can still read what it needs: the simulation of such a user."""
        root_fs.expose(self._linux, self._readable, self._cache, self._new_user)
        self._linux.become(self._new_user)
        self._linux.prctl(linux.PR_SET_DUMPABLE, 1)       # or the maps of the user namespace could not be written
        self._user = self._new_user

    def _enter_user_namespace(self) -> None:
        """A user namespace that maps the own user and group to themselves."""
        user, group = os.geteuid(), os.getegid()
        self._linux.unshare(linux.CLONE_NEWUSER)
        for name, text in (('setgroups', 'deny'), ('uid_map', f'{user} {user} 1'), ('gid_map', f'{group} {group} 1')):
            with open(f'/proc/self/{name}', 'w') as file:
                file.write(text)

    def _enter_nameless_host(self) -> None:
        self._linux.unshare(linux.CLONE_NEWIPC | linux.CLONE_NEWUTS)
        socket.sethostname('host')           # a new namespace starts with the name of the old one

    def _fork_first_process(self, announce: Callable[[int], None]) -> None:
        """Goes on as process 1 of the new namespace; the process it came from waits and ends as it ends."""
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(writing)
            self._first_process = reading
            self._die_with_first_process()
            return
        announce(child)
        os.closerange(3, writing)
        os.closerange(writing + 1, _ANY_DESCRIPTOR)
        _, status = os.waitpid(child, 0)
        os._exit(min(abs(os.waitstatus_to_exitcode(status)), 255))

    def seal_server(self, font_folders: list[str]) -> None:
        """Drops privileges for good and confines file access; call after the imports."""
        call, layers = self._linux, self.layers
        layers['no_capabilities'] = _holds(call.lock_capabilities)
        self._drop_user()
        layers['ordinary_user'] = self._user != 0
        layers['no_capabilities'] &= _holds(call.empty_capabilities)
        layers['no_new_privs'] = _holds(lambda: call.prctl(linux.PR_SET_NO_NEW_PRIVS, 1))
        call.prctl(linux.PR_SET_DUMPABLE, 0)
        self._die_with_first_process()
        self._seal_files(font_folders)
        closed = not (layers['landlock'] or layers['private_root'])
        layers['limits'] = _in_child(self._limit_resources)
        layers['thread_limit'] = self._find_thread_limit()
        self._rules = seccomp.Rules(closed=closed, threads=layers['thread_limit'])
        layers['seccomp'] = _in_child(lambda: self._install_filter(self._rules))
        self.tier = tier_of(layers, self._by_root)

    def _drop_user(self) -> None:
        """An ordinary user for root, unless what programs read cannot be read as one."""
        owner = 0
        if self._user == 0:
            owner = next((user for user in (self._new_user, _NOBODY)
                          if _in_child(lambda: self._become(user))), 0)
        if self._root is not None:
            self._root.seal(owner or self._user)
        elif owner:
            os.chown(self._outside, owner, owner)
        if owner:
            self._linux.become(owner)
            self._user = owner

    def _become(self, user: int) -> None:
        """Takes the user and looks whether programs would find what they read."""
        needed = [self._cache, *filter(os.path.isdir, sys.path)]
        self._linux.become(user)
        self._linux.empty_capabilities()
        os.stat(self.scratch)
        for path in needed:
            os.listdir(path)

    def _die_with_first_process(self) -> None:
        if self._first_process is None:
            return
        self._linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)      # a change of user undoes an earlier one
        if select.select([self._first_process], [], [], 0)[0]:
            os._exit(1)

    def _seal_files(self, font_folders: list[str]) -> None:
        if 'container' not in self._allowed:
            return
        versions = []
        readable = [*self._readable, *font_folders, self._cache]
        started = (self._guest_path, *root_fs.LOADERS) if self._guest else ()
        self.layers['landlock'] = _holds(lambda: versions.append(
            self._linux.landlock(readable, [self.scratch], list(root_fs.DEVICES), started)))
        self.layers['landlock_scopes'] = self.layers['landlock'] and versions[0] >= _SCOPES_VERSION

    def confine_job(self, server: int, result: int) -> None:
        """Walls of one forked process; `result` is the descriptor that stays open.

        Raises OSError when a layer that held in `seal_server` does not hold here.
        """
        self._part(server, result)
        seconds = int(self._limits.seconds) + 2
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
        self._limit_resources()
        self._close(dataclasses.replace(self._rules, guest=self._guest is not None))

    def part_from_guest(self) -> None:
        """The walls of every program for a process whose guest has ended: it starts none again. OSError when they do not hold."""
        self._install_filter(self._rules)

    def confine_service(self, server: int, keep: int) -> None:
        """Walls of a forked process of this package that reads what programs wrote, on the descriptor `keep`.

        It may send and receive on a connected socket, writes no file, and has no limit of CPU time.
        """
        self._part(server, keep)
        self._limit_resources()
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        self._close(seccomp.Rules(closed=self._rules.closed, threads=False, service=True))

    def _part(self, server: int, keep: int) -> None:
        """A session of its own, no descriptor but `keep`, and death with the server."""
        os.setsid()
        null = os.open('/dev/null', os.O_RDWR)
        for standard in (0, 1, 2):
            os.dup2(null, standard)
        os.closerange(3, keep)
        os.closerange(keep + 1, _ANY_DESCRIPTOR)
        self._linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != server:
            os._exit(1)

    def _limit_resources(self) -> None:
        limits = self._limits
        reserves = self._guest is not None and self._guest.reserves
        memory, files = (resource.RLIMIT_DATA, 4) if reserves else (resource.RLIMIT_AS, 1)
        for kind, value in ((memory, limits.memory_mb << 20), (resource.RLIMIT_CORE, 0),
                            (resource.RLIMIT_FSIZE, files * limits.file_mb << 20), (resource.RLIMIT_MSGQUEUE, 0),
                            (resource.RLIMIT_NOFILE, _GUEST_DESCRIPTORS if self._guest else _DESCRIPTORS)):
            resource.setrlimit(kind, (value, value))
        if self._processes:
            resource.setrlimit(resource.RLIMIT_NPROC, (self._processes, self._processes))

    def _find_thread_limit(self) -> bool:
        """Finds a number of processes and threads of the own user that stops a flood of threads and lets some start."""
        for number in (_THREADS, self._others + _THREADS):
            self._processes = number
            if not _in_child(lambda: _start_thread(1)) and _in_child(lambda: _start_thread(number)):
                return True
        self._processes = 0
        return False

    def _close(self, rules: seccomp.Rules) -> None:
        if self.layers['landlock_scopes']:
            self._linux.landlock_signals()
        if self.layers['seccomp']:
            self._install_filter(rules)

    def _install_filter(self, rules: seccomp.Rules) -> None:
        self._linux.install_filter(seccomp.filter_for(os.getpid(), this_architecture(), rules))


def _holds(layer: Callable[[], object]) -> bool:
    try:
        layer()
    except OSError:
        return False
    return True


def _in_child(layer: Callable[[], object]) -> bool:
    """Whether `layer` can be set up, tried in a process of its own."""
    child = os.fork()
    if child == 0:
        try:
            layer()
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitpid(child, 0)[1] == 0


def _start_thread(processes: int) -> None:
    resource.setrlimit(resource.RLIMIT_NPROC, (processes, processes))
    thread = threading.Thread(target=int)
    thread.start()
    thread.join()


def _threads_of(user: int) -> int:
    """Threads of a user, as far as /proc shows them."""
    number = 0
    for name in os.listdir('/proc') if os.path.isdir('/proc') else ():
        try:
            if name.isdigit() and os.stat(f'/proc/{name}').st_uid == user:
                number += len(os.listdir(f'/proc/{name}/task'))
        except OSError:
            continue                   # it has ended
    return number
