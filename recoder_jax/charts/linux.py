"""The few Linux calls the sandbox needs that Python does not offer, through ctypes.

Every function raises OSError where the kernel or a container denies the call; `isolation` decides what that means.
Where a call has no number here for the machine, it raises OSError(ENOSYS).
"""

import ctypes
import errno
import os
import platform
import struct

_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446   # the same numbers on every architecture
_LANDLOCK_READ_FILE, _LANDLOCK_READ_DIR = 1 << 2, 1 << 3
_LANDLOCK_WRITE_FILE, _LANDLOCK_TRUNCATE = 1 << 1, 1 << 14
_LANDLOCK_REMOVE_AND_MAKE = (1 << 4) | (1 << 5) | (1 << 7) | (1 << 8) | (1 << 12)   # rmdir, unlink, mkdir, file, symlink

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP = 1, 4, 38, 22
CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x00020000, 0x04000000, 0x08000000
CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REC, MS_PRIVATE = 2, 4, 8, 1 << 14, 1 << 18


class Linux:
    """Calls into the C library of this process."""

    def __init__(self):
        self._c = ctypes.CDLL(None, use_errno=True)

    def _checked(self, result: int, name: str) -> int:
        if result < 0:
            number = ctypes.get_errno()
            raise OSError(number, f'{name}: {os.strerror(number)}')
        return result

    def prctl(self, option: int, *arguments: int | ctypes.Array) -> None:
        values = [value if isinstance(value, ctypes.Array) else ctypes.c_ulong(value) for value in arguments]
        padding = [ctypes.c_ulong(0)] * (4 - len(values))
        self._checked(self._c.prctl(option, *values, *padding), f'prctl {option}')

    def unshare(self, flags: int) -> None:
        self._checked(self._c.unshare(flags), 'unshare')

    def mount(self, kind: str | None, target: str, flags: int, options: str | None = None) -> None:
        encoded = [None if text is None else text.encode() for text in (kind, target, kind, options)]
        self._checked(self._c.mount(encoded[0], encoded[1], encoded[2], ctypes.c_ulong(flags), encoded[3]), 'mount')

    def drop_capabilities(self) -> None:
        """Empties the permitted, effective and inheritable sets."""
        header = ctypes.create_string_buffer(struct.pack('=Ii', 0x20080522, 0), 8)
        data = ctypes.create_string_buffer(24)
        self._checked(self._c.capset(header, data), 'capset')

    def install_filter(self, instructions: bytes) -> None:
        """Installs a seccomp filter: packed (u16 code, u8 jump true, u8 jump false, u32 value) of 8 bytes each."""
        code = ctypes.create_string_buffer(instructions, len(instructions))
        program = ctypes.create_string_buffer(
            struct.pack('@HxxxxxxP', len(instructions) // 8, ctypes.addressof(code)), 16)
        self.prctl(PR_SET_SECCOMP, 2, program)

    def landlock_version(self) -> int:
        """The version of Landlock the kernel offers, at least 1."""
        return self._checked(self._c.syscall(_LANDLOCK_CREATE, None, ctypes.c_size_t(0), 1), 'landlock')

    def landlock(self, readable: list[str], writable: list[str], devices: list[str]) -> int:
        """Confines this process and its children to the named paths; returns the version of Landlock.

        readable: files may be read below these; writable: files may be read, made, changed and removed below these;
        devices: may be read and written. Every other file access, TCP, abstract sockets and signals to processes
        outside are denied as far as the version goes. Paths that do not exist are left out. Needs no_new_privs.
        """
        version = self.landlock_version()
        access = (1 << {1: 13, 2: 14, 3: 15, 4: 15}.get(version, 16)) - 1
        attributes = struct.pack('=QQQ', access, 3, 3)[:8 if version < 4 else 16 if version < 6 else 24]
        buffer = ctypes.create_string_buffer(attributes, len(attributes))
        rules = self._checked(
            self._c.syscall(_LANDLOCK_CREATE, buffer, ctypes.c_size_t(len(attributes)), 0), 'landlock')
        try:
            read = _LANDLOCK_READ_FILE | _LANDLOCK_READ_DIR
            write = _LANDLOCK_WRITE_FILE | _LANDLOCK_TRUNCATE
            for paths, allowed in ((readable, read), (devices, _LANDLOCK_READ_FILE | write),
                                   (writable, read | write | _LANDLOCK_REMOVE_AND_MAKE)):
                for path in paths:
                    self._allow(rules, path, allowed & access)
            self._checked(self._c.syscall(_LANDLOCK_RESTRICT, rules, 0), 'landlock')
        finally:
            os.close(rules)
        return version

    def _allow(self, rules: int, path: str, allowed: int) -> None:
        try:
            handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            return
        try:
            if not os.path.isdir(path):
                allowed &= _LANDLOCK_READ_FILE | _LANDLOCK_WRITE_FILE | _LANDLOCK_TRUNCATE
            rule = ctypes.create_string_buffer(struct.pack('=Qi', allowed, handle), 12)
            self._checked(self._c.syscall(_LANDLOCK_ADD, rules, 1, rule, 0), f'landlock {path}')
        finally:
            os.close(handle)


def require_x86_64() -> None:
    """OSError unless the system call numbers of this machine are the ones the filter is written for."""
    if platform.machine() != 'x86_64' or struct.calcsize('P') != 8:
        raise OSError(errno.ENOSYS, f'no system call table for {platform.machine()}')
