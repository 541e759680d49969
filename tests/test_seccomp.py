"""Promises of the system call filter, for both architectures, by interpreting its instructions."""

import os
import re
import signal
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recoder_jax.charts.seccomp import Rules, filter_for
from recoder_jax.charts.syscalls import AARCH64, CHECKED, FREE, GUEST, GUEST_CHECKED, PATHS, SERVICE, X86_64

ALLOW, KILL, EPERM, EAGAIN, ENOTTY, ENOSYS = 0x7FFF0000, 0x80000000, 0x50001, 0x5000B, 0x50019, 0x50026
PROCESS = 4321
ARCHITECTURES = pytest.mark.parametrize('architecture', [X86_64, AARCH64], ids=lambda one: one.name)
RULES = {'open': Rules(), 'closed': Rules(closed=True), 'no threads': Rules(threads=False),
         'service': Rules(closed=True, threads=False, service=True), 'guest': Rules(guest=True)}
# Calls that let a program out, or reach another process, under any arguments.
NEVER = (
    'execve', 'execveat', 'fork', 'vfork', 'socket', 'socketpair', 'connect', 'bind', 'listen', 'accept4', 'sendmsg',
    'ptrace', 'process_vm_readv', 'process_vm_writev', 'kcmp', 'pidfd_open', 'pidfd_getfd', 'pidfd_send_signal',
    'tkill', 'rt_sigqueueinfo', 'rt_tgsigqueueinfo', 'unshare', 'setns', 'mount', 'umount2', 'pivot_root', 'chroot',
    'chmod', 'fchmod', 'fchmodat', 'chown', 'fchown', 'fchownat', 'utimensat', 'setxattr', 'mknod', 'mknodat', 'link',
    'linkat', 'truncate', 'open_by_handle_at', 'name_to_handle_at', 'openat2', 'memfd_create', 'memfd_secret',
    'userfaultfd', 'io_uring_setup', 'io_uring_enter', 'bpf', 'perf_event_open', 'keyctl', 'add_key', 'request_key',
    'personality', 'prctl', 'seccomp', 'setrlimit', 'setuid', 'setsid', 'setpgid', 'shmget', 'msgget', 'semget',
    'mq_open', 'inotify_init1', 'fanotify_init', 'timer_create', 'mlock', 'sched_setaffinity', 'setpriority',
    'sethostname', 'reboot', 'sync')


def verdict(code: bytes, number: int, audit: int, arguments: tuple[int, ...] = ()) -> int:
    """What the filter answers to one call: a small interpreter of classic BPF."""
    data = struct.pack('=IIQ6Q', number, audit, 0, *(arguments + (0,) * 6)[:6])
    steps = [struct.unpack_from('=HBBI', code, offset) for offset in range(0, len(code), 8)]
    position = accumulator = 0
    while True:
        kind, when_true, when_false, value = steps[position]
        position += 1
        if kind == 0x20:
            accumulator = struct.unpack_from('=I', data, value)[0]
        elif kind == 0x54:
            accumulator &= value
        elif kind == 0x06:
            return value
        else:
            holds = {0x15: accumulator == value, 0x45: bool(accumulator & value)}[kind]
            position += when_true if holds else when_false


def numbers(architecture, *tables) -> set[int]:
    return {number for table in tables for row in table.values() if (number := architecture.number(row)) is not None}


def ask(architecture, name, *arguments, rules=Rules()):
    return verdict(filter_for(PROCESS, architecture, rules), architecture.number(CHECKED[name]), architecture.audit,
                   arguments)


@ARCHITECTURES
@pytest.mark.parametrize('rules', RULES.values(), ids=RULES.keys())
def test_what_is_named_is_allowed_and_nothing_else(architecture, rules):
    code = filter_for(PROCESS, architecture, rules)
    allowed = numbers(architecture, FREE, *([] if rules.closed else [PATHS]), *([SERVICE] if rules.service else []),
                      *([GUEST] if rules.guest else []))
    checked = numbers(architecture, CHECKED, *([GUEST_CHECKED] if rules.guest else []))
    assert len(allowed) > 80 and not allowed & checked
    for number in range(600):
        if number not in checked:
            expected = ALLOW if number in allowed else EPERM
            assert verdict(code, number, architecture.audit, (PROCESS,) * 6) == expected, number


@ARCHITECTURES
def test_no_call_out_is_named(architecture):
    assert not set(NEVER) & (set(FREE) | set(PATHS) | set(CHECKED) | set(SERVICE))
    guests = {'execve', 'fork', 'vfork', 'socketpair', 'sendmsg', 'memfd_create', 'prctl'}
    assert set(NEVER) & (set(GUEST) | set(GUEST_CHECKED)) == guests


@ARCHITECTURES
@given(audit=st.integers(0, 2**32 - 1), number=st.integers(0, 2**32 - 1))
def test_another_architecture_is_killed(architecture, audit, number):
    if audit != architecture.audit:
        assert verdict(filter_for(PROCESS, architecture), number, audit) == KILL


def test_calls_of_the_x32_abi_are_denied():
    code = filter_for(PROCESS, X86_64)
    assert {verdict(code, 0x40000000 | number, X86_64.audit, (PROCESS,)) for number in range(600)} == {EPERM}


@ARCHITECTURES
@given(number=st.integers(0, 2**32 - 1), arguments=st.tuples(*[st.integers(0, 2**64 - 1)] * 6))
def test_every_call_gets_an_answer(architecture, number, arguments):
    for rules in RULES.values():
        answer = verdict(filter_for(PROCESS, architecture, rules), number, architecture.audit, arguments)
        assert answer in (ALLOW, EPERM, EAGAIN, ENOTTY, ENOSYS)


@ARCHITECTURES
def test_threads_start_and_processes_and_namespaces_do_not(architecture):
    thread = 0x3D0F00                                   # as the C library starts one
    assert ask(architecture, 'clone', thread) == ALLOW
    assert ask(architecture, 'clone', 17) == EPERM      # fork: SIGCHLD alone
    for denied in (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000, 0x2000):
        assert ask(architecture, 'clone', thread | denied) == EPERM
    assert ask(architecture, 'clone3', 1) == ENOSYS
    assert ask(architecture, 'clone', thread, rules=Rules(threads=False)) == EAGAIN


@ARCHITECTURES
def test_a_guest_starts_processes_in_the_namespaces_it_is_in_and_cannot_change_what_a_process_may_do(architecture):
    assert ask(architecture, 'clone', 17, rules=Rules(guest=True)) == ALLOW
    for denied in (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000, 0x2000):
        assert ask(architecture, 'clone', 17 | denied, rules=Rules(guest=True)) == EPERM
    code, number = filter_for(PROCESS, architecture, Rules(guest=True)), architecture.number(GUEST_CHECKED['prctl'])
    allowed = {option for option in range(100) if verdict(code, number, architecture.audit, (option,)) == ALLOW}
    assert allowed == {3, 15, 16, 22, 23, 29, 30, 38, 39}      # no dumps, no tracer, no subreaper, no death signal


@ARCHITECTURES
@pytest.mark.parametrize('name, thread', [('kill', ()), ('tgkill', (1,))])
def test_signals_go_to_the_own_process_only_and_do_not_look_like_a_kill_from_outside(architecture, name, thread):
    assert ask(architecture, name, PROCESS, *thread, signal.SIGTERM) == ALLOW
    assert ask(architecture, name, PROCESS, *thread, signal.SIGKILL) == EPERM
    for other in (0, 1, PROCESS + 1, 2**32 - 1, 2**64 - 1, 2**64 - PROCESS):
        assert ask(architecture, name, other, *thread, signal.SIGTERM) == EPERM


@ARCHITECTURES
def test_the_process_id_stands_in_the_filter_twice_and_nowhere_by_chance(architecture):
    one, other = filter_for(1, architecture), filter_for(0x7ABCDEF0, architecture)
    assert len(one) == len(other) and other.count(struct.pack('=I', 0x7ABCDEF0)) == 2
    assert other.replace(struct.pack('=I', 0x7ABCDEF0), struct.pack('=I', 1)) == one


@ARCHITECTURES
def test_limits_can_be_asked_for_and_not_set(architecture):
    assert ask(architecture, 'prlimit64', 0, 7, 0, 1) == ALLOW
    for pointer in (1, 1 << 32, 1 << 63):
        assert ask(architecture, 'prlimit64', 0, 7, pointer, 0) == EPERM


@ARCHITECTURES
def test_ioctl_and_fcntl_take_listed_commands_only(architecture):
    allowed = {command for command in range(0x6000) if ask(architecture, 'ioctl', 0, command) == ALLOW}
    assert allowed == {0x5401, 0x5413, 0x5450, 0x5451, 0x541B}
    assert ask(architecture, 'ioctl', 0, 0x5412) == ENOTTY                     # TIOCSTI
    allowed = {command for command in range(1100) if ask(architecture, 'fcntl', 0, command) == ALLOW}
    assert allowed == {0, 1, 2, 3, 4, 5, 6, 7, 36, 37, 38, 1030, 1032}         # no owner, signal, lease or notice
    assert ask(architecture, 'fcntl', 0, 4, 0x2000) == EPERM                   # O_ASYNC


@pytest.mark.parametrize('architecture, name, before', [
    (X86_64, 'open', (0,)), (X86_64, 'openat', (0, 0)), (AARCH64, 'openat', (0, 0))])
def test_a_file_is_not_emptied_by_opening_it_to_read(architecture, name, before):
    assert ask(architecture, name, *before, 0) == ALLOW
    assert ask(architecture, name, *before, 0o1101) == ALLOW                   # to write, made and emptied
    assert ask(architecture, name, *before, 0o1000) == EPERM
    assert ask(architecture, name, *before, 0, rules=Rules(closed=True)) == EPERM


HEADERS = {
    'x86_64': (X86_64, ('/usr/include/x86_64-linux-gnu/asm/unistd_64.h', '/usr/include/asm/unistd_64.h')),
    'aarch64': (AARCH64, ('/usr/include/asm-generic/unistd.h',)),
}


@pytest.mark.parametrize('architecture, files', HEADERS.values(), ids=HEADERS.keys())
def test_numbers_are_those_of_the_kernel_headers(architecture, files):
    present = [file for file in files if os.path.exists(file)]
    if not present:
        pytest.skip(f'no kernel header among {files}')
    with open(present[0]) as file:
        known = {name: int(number) for name, number in re.findall(r'#define __NR(?:3264)?_(\w+)\s+(\d+)', file.read())}
    known.setdefault('newfstatat', known.get('fstatat'))       # asm-generic has it under the name without 64 bits
    for table in (FREE, PATHS, CHECKED, SERVICE):
        for name, row in table.items():
            assert known.get(name) == architecture.number(row), name
