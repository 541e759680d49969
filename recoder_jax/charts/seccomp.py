"""The system calls a program may make, as a seccomp filter for x86-64.

An allow list: what is not named here returns EPERM. A program can start threads and no process, open files (Landlock
says which) and no socket, signal itself and nobody else, and cannot change modes, owners or times of files, which
Landlock does not watch.
"""

import struct

# Call numbers of x86-64 (linux/arch/x86/entry/syscalls/syscall_64.tbl).
_ALLOWED = {
    'read': 0, 'write': 1, 'open': 2, 'close': 3, 'stat': 4, 'fstat': 5, 'lstat': 6, 'poll': 7, 'lseek': 8, 'mmap': 9,
    'mprotect': 10, 'munmap': 11, 'brk': 12, 'rt_sigaction': 13, 'rt_sigprocmask': 14, 'rt_sigreturn': 15,
    'pread64': 17, 'pwrite64': 18, 'readv': 19, 'writev': 20, 'access': 21, 'pipe': 22, 'select': 23,
    'sched_yield': 24, 'mremap': 25, 'msync': 26, 'mincore': 27, 'madvise': 28, 'dup': 32, 'dup2': 33, 'pause': 34,
    'nanosleep': 35, 'getitimer': 36, 'alarm': 37, 'setitimer': 38, 'getpid': 39, 'sendfile': 40, 'exit': 60,
    'wait4': 61, 'uname': 63, 'fcntl': 72, 'flock': 73, 'fsync': 74, 'fdatasync': 75, 'truncate': 76,
    'ftruncate': 77, 'getdents': 78, 'getcwd': 79, 'chdir': 80, 'fchdir': 81, 'rename': 82, 'mkdir': 83, 'rmdir': 84,
    'unlink': 87, 'symlink': 88, 'readlink': 89, 'umask': 95, 'gettimeofday': 96, 'getrlimit': 97, 'getrusage': 98,
    'sysinfo': 99, 'times': 100, 'getuid': 102, 'getgid': 104, 'geteuid': 107, 'getegid': 108, 'getppid': 110,
    'getpgrp': 111, 'getgroups': 115, 'getresuid': 118, 'getresgid': 120, 'getpgid': 121, 'getsid': 124,
    'rt_sigpending': 127, 'rt_sigtimedwait': 128, 'rt_sigsuspend': 130, 'sigaltstack': 131, 'statfs': 137,
    'fstatfs': 138, 'sched_getparam': 143, 'sched_getscheduler': 145, 'sched_get_priority_max': 146,
    'sched_get_priority_min': 147, 'gettid': 186, 'readahead': 187, 'time': 201, 'futex': 202,
    'sched_getaffinity': 204, 'epoll_create': 213, 'getdents64': 217, 'set_tid_address': 218,
    'restart_syscall': 219, 'fadvise64': 221, 'clock_gettime': 228, 'clock_getres': 229, 'clock_nanosleep': 230,
    'exit_group': 231, 'epoll_wait': 232, 'epoll_ctl': 233, 'waitid': 247, 'openat': 257, 'mkdirat': 258,
    'newfstatat': 262, 'unlinkat': 263, 'renameat': 264, 'symlinkat': 266, 'readlinkat': 267, 'faccessat': 269,
    'pselect6': 270, 'ppoll': 271, 'set_robust_list': 273, 'get_robust_list': 274, 'epoll_pwait': 281,
    'eventfd': 284, 'fallocate': 285, 'eventfd2': 290, 'epoll_create1': 291, 'dup3': 292, 'pipe2': 293,
    'preadv': 295, 'pwritev': 296, 'getcpu': 309, 'renameat2': 316, 'getrandom': 318, 'membarrier': 324,
    'copy_file_range': 326, 'statx': 332, 'rseq': 334, 'faccessat2': 439,
}
_KILL_OWN = {'kill': 62, 'tkill_group': 234}          # kill(pid, signal), tgkill(pid, thread, signal)
_CLONE, _CLONE3, _IOCTL, _PRLIMIT = 56, 435, 16, 302
_CLONE_THREAD = 0x00010000
# Terminal questions and descriptor flags that file objects ask for: TCGETS, TIOCGWINSZ, FIOCLEX, FIONCLEX, FIONREAD.
_IOCTLS = (0x5401, 0x5413, 0x5451, 0x5450, 0x541B)

_LOAD, _EQUAL, _ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_EPERM, _ENOTTY, _ENOSYS = 1, 25, 38
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16          # offsets in struct seccomp_data
_AUDIT_ARCH_X86_64 = 0xC000003E


def filter_for(process: int) -> bytes:
    """Packed filter instructions for a program that runs as process id `process`."""
    deny = _step(_RETURN, _ERRNO | _EPERM)
    allow = _step(_RETURN, _ALLOW)
    code = [
        _step(_LOAD, _ARCHITECTURE), _step(_EQUAL, _AUDIT_ARCH_X86_64, 1, 0), _step(_RETURN, _KILL),
        _step(_LOAD, _NUMBER),
    ]
    for number in _ALLOWED.values():
        code += [_step(_EQUAL, number, 0, 1), allow]
    for number in _KILL_OWN.values():
        code += _when(number, [_argument(0), _step(_EQUAL, process, 0, 1), allow, deny])
    code += _when(_CLONE, [_argument(0), _step(_ANY_BIT, _CLONE_THREAD, 0, 1), allow, deny])
    code += _when(_CLONE3, [_step(_RETURN, _ERRNO | _ENOSYS)])      # the C library then falls back to clone
    asked = [instruction for request in _IOCTLS for instruction in (_step(_EQUAL, request, 0, 1), allow)]
    code += _when(_IOCTL, [_argument(1), *asked, _step(_RETURN, _ERRNO | _ENOTTY)])
    # prlimit64(pid, resource, new, old): the new limits must be NULL, both halves of the pointer.
    code += _when(_PRLIMIT, [_argument(2), _step(_EQUAL, 0, 0, 3), _argument(2, high=True), _step(_EQUAL, 0, 0, 1),
                             allow, deny])
    return b''.join([*code, deny])


def _step(code: int, value: int, when_true: int = 0, when_false: int = 0) -> bytes:
    return struct.pack('=HBBI', code, when_true, when_false, value)


def _argument(index: int, high: bool = False) -> bytes:
    return _step(_LOAD, _ARGUMENTS + 8 * index + 4 * high)


def _when(number: int, body: list[bytes]) -> list[bytes]:
    """`body`, which ends in a return, for one call number; the accumulator holds the number before and after."""
    return [_step(_EQUAL, number, 0, len(body)), *body]
