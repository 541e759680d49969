"""The system calls a program may make, as a seccomp filter.

An allow list: what is not named here returns EPERM, calls of the x32 ABI, whose numbers have bit 30 set, among it. A
program can start threads and no process, open files (Landlock and the private root say which) and no socket, signal
itself and nobody else, and cannot change modes, owners, times or extended attributes of files, which Landlock does not
watch.
"""

import functools
import struct
from dataclasses import dataclass

from recoder_jax.charts.syscalls import CHECKED, FREE, GUEST, GUEST_CHECKED, PATHS, SERVICE, Architecture

_LOAD, _EQUAL, _ANY_BIT, _AND, _RETURN = 0x20, 0x15, 0x45, 0x54, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_EPERM, _EAGAIN, _ENOTTY, _ENOSYS = 1, 11, 25, 38
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16          # offsets in struct seccomp_data
_OWN = 0x7FEDCBA9      # stands for the process id until it is known; over every id Linux gives

_SIGKILL = 9
_CLONE_THREAD = 0x00010000
# Namespaces (mount, cgroup, uts, ipc, user, pid, network) and being traced with the parent.
_CLONE_DENIED = 0x00020000 | 0x02000000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000 | 0x00002000
# Terminal questions and descriptor flags that file objects ask for: TCGETS, TIOCGWINSZ, FIOCLEX, FIONCLEX, FIONREAD.
_IOCTLS = (0x5401, 0x5413, 0x5451, 0x5450, 0x541B)
# Duplicates, flags, locks (process and descriptor), duplicate with close-on-exec, size of a pipe. F_SETOWN, F_SETSIG,
# leases and directory notices are not among them: they send signals, to any process.
_FCNTLS = (0, 1, 2, 3, 5, 6, 7, 36, 37, 38, 1030, 1032)
# Names of threads and of memory, timer slack, a further filter and the flag it needs, questions about dumps and capabilities.
_PRCTLS = (3, 15, 16, 22, 23, 29, 30, 38, 39, 0x53564D41)
_SET_FLAGS, _O_ASYNC = 4, 0x2000
_O_TRUNC, _O_ACCESS = 0x200, 0x3       # opened to read and emptied: Landlock before version 3 lets it pass


@dataclass(frozen=True)
class Rules:
    """What differs between filters.

    Attributes:
        closed: deny every call that takes a path, for machines without Landlock and without a private root.
        threads: allow threads.
        service: allow what a process needs that talks over one connected socket.
        guest: allow what a program of the machine needs, processes among it.
    """

    closed: bool = False
    threads: bool = True
    service: bool = False
    guest: bool = False


def filter_for(process: int, architecture: Architecture, rules: Rules = Rules()) -> bytes:
    """Packed filter instructions for a program that runs as process id `process` in its namespace."""
    return _template(architecture, rules).replace(struct.pack('=I', _OWN), struct.pack('=I', process))


@functools.cache
def _template(architecture: Architecture, rules: Rules) -> bytes:
    deny = _step(_RETURN, _ERRNO | _EPERM)
    code = [_step(_LOAD, _ARCHITECTURE), _step(_EQUAL, architecture.audit, 1, 0), _step(_RETURN, _KILL),
            _step(_LOAD, _NUMBER)]
    for name, body in _checked(rules).items():
        number = architecture.number((CHECKED | GUEST_CHECKED)[name])
        if number is not None:
            code += _when(number, body)
    allowed = FREE | ({} if rules.closed else PATHS) | (SERVICE if rules.service else {}) | (GUEST if rules.guest else {})
    for row in allowed.values():
        number = architecture.number(row)
        if number is not None:
            code += _when(number, [_step(_RETURN, _ALLOW)])
    return b''.join([*code, deny])


def _checked(rules: Rules) -> dict[str, list[bytes]]:
    """Call -> instructions that end in a return."""
    allow, deny = _step(_RETURN, _ALLOW), _step(_RETURN, _ERRNO | _EPERM)
    thread = [_argument(0), *([] if rules.guest else [_step(_ANY_BIT, _CLONE_THREAD, 0, 2)]), _step(_ANY_BIT, _CLONE_DENIED, 1, 0), allow, deny]
    asked = [instruction for request in _IOCTLS for instruction in (_step(_EQUAL, request, 0, 1), allow)]
    commands = [instruction for command in _FCNTLS for instruction in (_step(_EQUAL, command, 0, 1), allow)]
    options = [instruction for option in _PRCTLS for instruction in (_step(_EQUAL, option, 0, 1), allow)]
    flags = [_step(_EQUAL, _SET_FLAGS, 0, 3), _argument(2), _step(_ANY_BIT, _O_ASYNC, 1, 0), allow, deny]
    return ({'prctl': [_argument(0), *options, deny]} if rules.guest else {}) | {
        'open': [deny] if rules.closed else _opened(1),
        'openat': [deny] if rules.closed else _opened(2),
        'fcntl': [_argument(1), *commands, *flags],
        'ioctl': [_argument(1), *asked, _step(_RETURN, _ERRNO | _ENOTTY)],
        'kill': _signal_own(1),                         # kill(process, signal)
        'tgkill': _signal_own(2),                       # tgkill(process, thread, signal)
        'clone': thread if rules.threads else [_step(_RETURN, _ERRNO | _EAGAIN)],
        'clone3': [_step(_RETURN, _ERRNO | _ENOSYS)],   # its flags are out of reach; the C library falls back to clone
        # prlimit64(process, resource, new, old): the new limits must be NULL, both halves of the pointer.
        'prlimit64': [_argument(2), _step(_EQUAL, 0, 0, 3), _argument(2, high=True), _step(_EQUAL, 0, 0, 1), allow,
                      deny],
    }


def _signal_own(position: int) -> list[bytes]:
    """Allows signals to the own process, but for the one that would look like a kill from outside."""
    return [_argument(0), _step(_EQUAL, _OWN, 0, 3), _argument(position), _step(_EQUAL, _SIGKILL, 1, 0),
            _step(_RETURN, _ALLOW), _step(_RETURN, _ERRNO | _EPERM)]


def _opened(flags: int) -> list[bytes]:
    """Allows but for O_TRUNC without an access mode that writes; `flags` is the position of the flags."""
    return [_argument(flags), _step(_AND, _O_TRUNC | _O_ACCESS), _step(_EQUAL, _O_TRUNC, 1, 0),
            _step(_RETURN, _ALLOW), _step(_RETURN, _ERRNO | _EPERM)]


def _step(code: int, value: int, when_true: int = 0, when_false: int = 0) -> bytes:
    return struct.pack('=HBBI', code, when_true, when_false, value)


def _argument(index: int, high: bool = False) -> bytes:
    return _step(_LOAD, _ARGUMENTS + 8 * index + 4 * high)


def _when(number: int, body: list[bytes]) -> list[bytes]:
    """`body`, which ends in a return, for one call number; the accumulator holds the number before and after."""
    return [_step(_EQUAL, number, 0, len(body)), *body]
