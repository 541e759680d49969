"""Numbers of the system calls the filter names, for x86-64 and aarch64.

Sources: linux/arch/x86/entry/syscalls/syscall_64.tbl and linux/include/uapi/asm-generic/unistd.h, which aarch64 takes
unchanged. None: the architecture has no such call (aarch64 has none of those that a later call with a directory, flags
or a time limit stands in for).
"""

import errno
import platform
import struct
from dataclasses import dataclass

# Name -> (x86-64, aarch64). May be made with any arguments: they name no path and reach no other process.
FREE = {
    'read': (0, 63), 'write': (1, 64), 'close': (3, 57), 'fstat': (5, 80), 'poll': (7, None), 'lseek': (8, 62),
    'mmap': (9, 222), 'mprotect': (10, 226), 'munmap': (11, 215), 'brk': (12, 214), 'rt_sigaction': (13, 134),
    'rt_sigprocmask': (14, 135), 'rt_sigreturn': (15, 139), 'pread64': (17, 67), 'pwrite64': (18, 68),
    'readv': (19, 65), 'writev': (20, 66), 'preadv': (295, 69), 'pwritev': (296, 70), 'preadv2': (327, 286),
    'pwritev2': (328, 287), 'pipe': (22, None), 'pipe2': (293, 59), 'select': (23, None), 'pselect6': (270, 72),
    'ppoll': (271, 73), 'sched_yield': (24, 124), 'mremap': (25, 216), 'msync': (26, 227), 'madvise': (28, 233),
    'dup': (32, 23), 'dup2': (33, None), 'dup3': (292, 24), 'pause': (34, None), 'nanosleep': (35, 101),
    'clock_nanosleep': (230, 115), 'getitimer': (36, 102), 'setitimer': (38, 103), 'alarm': (37, None),
    'getpid': (39, 172), 'gettid': (186, 178), 'getppid': (110, 173), 'getuid': (102, 174), 'geteuid': (107, 175),
    'getgid': (104, 176), 'getegid': (108, 177), 'getgroups': (115, 158), 'getresuid': (118, 148),
    'getresgid': (120, 150), 'getpgid': (121, 155), 'getpgrp': (111, None), 'getsid': (124, 156),
    'sendfile': (40, 71), 'exit': (60, 93), 'exit_group': (231, 94), 'wait4': (61, 260), 'waitid': (247, 95),
    'uname': (63, 160), 'fsync': (74, 82), 'fdatasync': (75, 83), 'ftruncate': (77, 46), 'fallocate': (285, 47),
    'getdents': (78, None), 'getdents64': (217, 61), 'getcwd': (79, 17), 'umask': (95, 166),
    'gettimeofday': (96, 169), 'time': (201, None), 'times': (100, 153), 'getrlimit': (97, 163),
    'getrusage': (98, 165), 'sysinfo': (99, 179), 'rt_sigpending': (127, 136), 'rt_sigtimedwait': (128, 137),
    'rt_sigsuspend': (130, 133), 'sigaltstack': (131, 132), 'fstatfs': (138, 44), 'sched_getparam': (143, 121),
    'sched_getscheduler': (145, 120), 'sched_get_priority_max': (146, 125), 'sched_get_priority_min': (147, 126),
    'readahead': (187, 213), 'futex': (202, 98), 'sched_getaffinity': (204, 123), 'epoll_create': (213, None),
    'epoll_create1': (291, 20), 'epoll_ctl': (233, 21), 'epoll_wait': (232, None), 'epoll_pwait': (281, 22),
    'eventfd': (284, None), 'eventfd2': (290, 19), 'set_tid_address': (218, 96), 'restart_syscall': (219, 128),
    'fadvise64': (221, 223), 'clock_gettime': (228, 113), 'clock_getres': (229, 114), 'set_robust_list': (273, 99),
    'getcpu': (309, 168), 'getrandom': (318, 278), 'membarrier': (324, 283), 'copy_file_range': (326, 285),
    'rseq': (334, 293), 'getpriority': (140, 141), 'close_range': (436, 436),
}
# Take a path and open nothing. With Landlock or a root of its own around the program they are free too.
PATHS = {
    'stat': (4, None), 'lstat': (6, None), 'newfstatat': (262, 79), 'statx': (332, 291), 'access': (21, None),
    'faccessat': (269, 48), 'faccessat2': (439, 439), 'chdir': (80, 49), 'fchdir': (81, 50), 'rename': (82, None),
    'renameat': (264, 38), 'renameat2': (316, 276), 'mkdir': (83, None), 'mkdirat': (258, 34), 'rmdir': (84, None),
    'unlink': (87, None), 'unlinkat': (263, 35), 'symlink': (88, None), 'symlinkat': (266, 36),
    'readlink': (89, None), 'readlinkat': (267, 78), 'statfs': (137, 43),
}
# May be made with some arguments only.
CHECKED = {
    'open': (2, None), 'openat': (257, 56), 'fcntl': (72, 25), 'ioctl': (16, 29), 'kill': (62, 129),
    'tgkill': (234, 131), 'clone': (56, 220), 'clone3': (435, 435), 'prlimit64': (302, 261),
}
# Free for a guest too (languages/language.py): processes, sockets in pairs, timers, memory and files of its own.
GUEST = {
    'execve': (59, 221), 'fork': (57, None), 'vfork': (58, None), 'socketpair': (53, 199), 'sendto': (44, 206), 'recvfrom': (45, 207),
    'sendmsg': (46, 211), 'recvmsg': (47, 212), 'sendmmsg': (307, 269), 'shutdown': (48, 210), 'setsockopt': (54, 208),
    'getsockopt': (55, 209), 'getsockname': (51, 204), 'memfd_create': (319, 279), 'arch_prctl': (158, None), 'mincore': (27, 232),
    'timerfd_create': (283, 85), 'timerfd_settime': (286, 86), 'flock': (73, 32), 'creat': (85, None), 'sched_getattr': (315, 275),
}
GUEST_CHECKED = {'prctl': (157, 167)}
# Free for the replayer too, which has one connected socket and no way to another.
SERVICE = {
    'recvfrom': (45, 207), 'sendto': (44, 206), 'shutdown': (48, 210),
}


@dataclass(frozen=True)
class Architecture:
    """A machine the filter can be written for.

    Attributes:
        name: as `platform.machine` gives it.
        audit: AUDIT_ARCH of its 64-bit system calls (linux/audit.h).
        column: of the tables above.
    """

    name: str
    audit: int
    column: int

    def number(self, row: tuple[int | None, int | None]) -> int | None:
        """The number in a row of the tables; None when this architecture has no such call."""
        return row[self.column]


X86_64 = Architecture('x86_64', 0xC000003E, 0)
AARCH64 = Architecture('aarch64', 0xC00000B7, 1)


def this_architecture() -> Architecture:
    """That of this process; OSError(ENOSYS) where no table is known."""
    for known in (X86_64, AARCH64):
        if platform.machine() == known.name and struct.calcsize('P') == 8:
            return known
    raise OSError(errno.ENOSYS, f'no system call table for {platform.machine()}')
