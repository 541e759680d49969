"""The walls around a program: what is set up once in a fork server, and what is set up in each forked process.

    confine_server   namespaces (network, ipc, uts, mount) and a bounded file system for the scratch directory, before
                     the imports; seal_server  capabilities, no_new_privs, Landlock, after them
    confine_job      session, descriptors, resource limits, death with the server, seccomp

Each layer is tried, and whether it holds is reported by name. None is assumed.
"""

import os
import resource
import signal
import sys

from recoder_jax.charts import linux, seccomp
from recoder_jax.charts.execution import Limits
from recoder_jax.charts.linux import Linux

LAYERS = {
    'limits': 'address space, CPU time, file size, descriptors, core files',
    'no_new_privs': 'no privilege through set-user-id files',
    'network_namespace': 'no network interface but an unconfigured loopback',
    'ipc_uts_namespaces': 'no System V objects or host name of others',
    'scratch_quota': 'total size and number of files a program can leave',
    'no_capabilities': 'no capability of root in the program',
    'landlock': 'files outside system paths and the own scratch directory cannot be read or written',
    'landlock_scopes': 'no signal and no abstract socket to processes outside',
    'seccomp': 'no process, exec, socket, trace, mount, mode or owner change',
}


class Isolation:
    """Sets up the layers of one fork server and of the processes it forks."""

    def __init__(self, limits: Limits, scratch: str):
        self._limits = limits
        self._scratch = scratch
        self._linux = Linux()
        self.layers = dict.fromkeys(LAYERS, False)

    def confine_server(self) -> None:
        """Namespaces. Call single-threaded, before the imports that may start threads."""
        call = self._linux
        if os.geteuid() != 0:
            _enter_user_namespace(call)
        self.layers['network_namespace'] = _holds(lambda: call.unshare(linux.CLONE_NEWNET))
        self.layers['ipc_uts_namespaces'] = _holds(lambda: call.unshare(linux.CLONE_NEWIPC | linux.CLONE_NEWUTS))
        self.layers['scratch_quota'] = _holds(self._mount_scratch)

    def _mount_scratch(self) -> None:
        self._linux.unshare(linux.CLONE_NEWNS)
        self._linux.mount(None, '/', linux.MS_REC | linux.MS_PRIVATE)
        self._linux.mount('tmpfs', self._scratch, linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC,
                          f'size={4 * self._limits.file_mb}m,nr_inodes=4096,mode=700')

    def seal_server(self, font_folders: list[str]) -> None:
        """Drops privileges for good and confines file access; call after the imports."""
        call = self._linux
        self.layers['no_capabilities'] = _holds(call.drop_capabilities)
        self.layers['no_new_privs'] = _holds(lambda: call.prctl(linux.PR_SET_NO_NEW_PRIVS, 1))
        call.prctl(linux.PR_SET_DUMPABLE, 0)
        versions = []
        self.layers['landlock'] = _holds(lambda: versions.append(call.landlock(
            [*_system_paths(), *font_folders], [self._scratch], ['/dev/null', '/dev/zero', '/dev/urandom'])))
        self.layers['landlock_scopes'] = self.layers['landlock'] and versions[0] >= 6
        self.layers['seccomp'] = _in_child(lambda: self._install_filter())
        self.layers['limits'] = _in_child(self._limit_resources)

    def confine_job(self, server: int, result: int) -> None:
        """Walls of one forked process; `result` is the descriptor that stays open.

        Raises OSError when a layer that held in `seal_server` does not hold here.
        """
        os.setsid()
        null = os.open('/dev/null', os.O_RDWR)
        for standard in (0, 1, 2):
            os.dup2(null, standard)
        os.closerange(3, result)
        os.closerange(result + 1, max(result + 1, 256))
        self._linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != server:
            os._exit(1)
        self._limit_resources()
        if self.layers['seccomp']:
            self._install_filter()

    def _limit_resources(self) -> None:
        limits = self._limits
        space, file, seconds = limits.memory_mb << 20, limits.file_mb << 20, int(limits.seconds) + 2
        for kind, value in ((resource.RLIMIT_AS, space), (resource.RLIMIT_FSIZE, file), (resource.RLIMIT_CORE, 0),
                            (resource.RLIMIT_NOFILE, 64)):
            resource.setrlimit(kind, (value, value))
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
        if not self.layers['seccomp']:
            # Without the filter this alone stops fork bombs, for every user but root. It also stops threads.
            resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))

    def _install_filter(self) -> None:
        linux.require_x86_64()
        self._linux.install_filter(seccomp.filter_for(os.getpid()))


def _holds(layer) -> bool:
    try:
        layer()
    except OSError:
        return False
    return True


def _in_child(layer) -> bool:
    """Whether `layer` can be set up, tried in a process of its own."""
    child = os.fork()
    if child == 0:
        os._exit(0 if _holds(layer) else 1)
    return os.waitpid(child, 0)[1] == 0


def _enter_user_namespace(call: Linux) -> None:
    """A user namespace that maps the own user and group to themselves, where the kernel allows it."""
    user, group = os.geteuid(), os.getegid()

    def enter() -> None:
        call.unshare(linux.CLONE_NEWUSER)
        for name, text in (('setgroups', 'deny'), ('uid_map', f'{user} {user} 1'), ('gid_map', f'{group} {group} 1')):
            with open(f'/proc/self/{name}', 'w') as file:
                file.write(text)

    if _in_child(enter):
        enter()


def _system_paths() -> list[str]:
    """Where Python, its packages and shared libraries are."""
    roots = {sys.prefix, sys.base_prefix, sys.exec_prefix, '/usr', '/lib', '/lib64', '/lib32', '/etc/fonts',
             '/etc/ld.so.cache', '/etc/localtime', '/etc/mime.types'}
    roots |= {path for path in sys.path if os.path.isdir(path)}
    return sorted(root for root in roots if os.path.realpath(root) != '/')
