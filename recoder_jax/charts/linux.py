"""The few Linux calls the sandbox needs that Python does not offer, through ctypes.

Every function raises OSError where the kernel or a container denies the call; `isolation` decides what that means.
"""

import ctypes
import errno
import os
import struct

_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446   # the same numbers on every architecture
_LANDLOCK_EXECUTE, _LANDLOCK_READ_FILE, _LANDLOCK_READ_DIR = 1 << 0, 1 << 2, 1 << 3
_LANDLOCK_WRITE_FILE, _LANDLOCK_TRUNCATE = 1 << 1, 1 << 14
_LANDLOCK_REFER = 1 << 13
# Removing directories and files; making directories, files and symbolic links; moving files to another directory.
_LANDLOCK_REMOVE_AND_MAKE = (1 << 4) | (1 << 5) | (1 << 7) | (1 << 8) | (1 << 12) | _LANDLOCK_REFER

_MOUNT_SETATTR = 442                                                   # likewise
_SCOPE_ABSTRACT_SOCKET, _SCOPE_SIGNAL = 1, 2

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP = 1, 4, 38, 22
_PR_CAPBSET_DROP, _PR_SET_SECUREBITS, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 24, 28, 47, 4
_SECURE_BITS = 0x2F        # root gains nothing by exec or by a change of user, and that is locked
CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x00020000, 0x04000000, 0x08000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8     # the MOUNT_ATTR of mount_setattr have the same values
MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1 << 5, 1 << 12, 1 << 14, 1 << 18
_MNT_DETACH, _AT_FDCWD, _AT_RECURSIVE = 2, -100, 0x8000


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

    def mount(self, source: str | None, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
        encoded = [None if text is None else text.encode() for text in (source, target, kind, options)]
        self._checked(self._c.mount(*encoded[:3], ctypes.c_ulong(flags), encoded[3]), f'mount {target}')

    def restrict_mount(self, target: str, flags: int, recursive: bool = False) -> None:
        """Adds flags of MS_RDONLY, MS_NOSUID, MS_NODEV and MS_NOEXEC to a mount, and to those below it.

        Kernels before 5.12 restrict the mount itself only.
        """
        attributes = ctypes.create_string_buffer(struct.pack('=QQQQ', flags, 0, 0, 0), 32)
        result = self._c.syscall(_MOUNT_SETATTR, _AT_FDCWD, target.encode(), _AT_RECURSIVE if recursive else 0,
                                 attributes, ctypes.c_size_t(32))
        if result < 0 and ctypes.get_errno() == errno.ENOSYS:
            kept = os.statvfs(target).f_flag & (MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC | 0x1C00)   # and times
            self.mount(None, target, None, MS_REMOUNT | MS_BIND | kept | flags)
            return
        self._checked(result, f'mount_setattr {target}')

    def pivot_root(self) -> None:
        """Makes the current directory, a mount point, the root, and takes the old root out of sight."""
        self._checked(self._c.pivot_root(b'.', b'.'), 'pivot_root')
        self._checked(self._c.umount2(b'.', _MNT_DETACH), 'umount2')
        os.chdir('/')

    def lock_capabilities(self) -> None:
        """Empties the bounding and ambient sets, so that no exec and no change of user gives a capability."""
        for capability in range(64):
            try:
                self.prctl(_PR_CAPBSET_DROP, capability)
            except OSError as error:
                if error.errno == errno.EINVAL:        # above the last one of this kernel
                    break
                if os.geteuid() == 0:
                    raise
        try:
            self.prctl(_PR_SET_SECUREBITS, _SECURE_BITS)
            self.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
        except OSError:
            pass                   # without CAP_SETPCAP there is nothing to lock, and no_new_privs stands before exec

    def empty_capabilities(self) -> None:
        """Empties the permitted, effective and inheritable sets."""
        header = ctypes.create_string_buffer(struct.pack('=Ii', 0x20080522, 0), 8)
        data = ctypes.create_string_buffer(24)
        self._checked(self._c.capset(header, data), 'capset')

    def become(self, user: int) -> None:
        """Takes user and group id `user` for good, without supplementary groups."""
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)

    def install_filter(self, instructions: bytes) -> None:
        """Installs a seccomp filter: packed (u16 code, u8 jump true, u8 jump false, u32 value) of 8 bytes each."""
        code = ctypes.create_string_buffer(instructions, len(instructions))
        program = ctypes.create_string_buffer(
            struct.pack('@HxxxxxxP', len(instructions) // 8, ctypes.addressof(code)), 16)
        self.prctl(PR_SET_SECCOMP, 2, program)

    def landlock_version(self) -> int:
        """The version of Landlock the kernel offers, at least 1."""
        return self._checked(self._c.syscall(_LANDLOCK_CREATE, None, ctypes.c_size_t(0), 1), 'landlock')

    def landlock(self, readable: list[str], writable: list[str], devices: list[str], started: tuple[str, ...] = ()) -> int:
        """Confines this process and its children to the named paths; returns the version of Landlock.

        readable: files may be read below these; writable: files may be read, made, changed and removed below these;
        devices: may be read and written; started: may be executed. Every other file access, TCP, abstract sockets and signals to processes
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
                                   (writable, read | write | _LANDLOCK_REMOVE_AND_MAKE),
                                   (started, _LANDLOCK_READ_FILE | _LANDLOCK_EXECUTE)):
                for path in paths:
                    self._allow(rules, path, allowed & access)
            self._checked(self._c.syscall(_LANDLOCK_RESTRICT, rules, 0), 'landlock')
        finally:
            os.close(rules)
        return version

    def landlock_signals(self) -> None:
        """Confines signals and abstract sockets of this process to itself; needs Landlock version 6.

        Every set of rules denies moving files to another directory unless it says otherwise, so this one does: which
        directories is for the set before it to say.
        """
        attributes = ctypes.create_string_buffer(
            struct.pack('=QQQ', _LANDLOCK_REFER, 0, _SCOPE_ABSTRACT_SOCKET | _SCOPE_SIGNAL), 24)
        rules = self._checked(self._c.syscall(_LANDLOCK_CREATE, attributes, ctypes.c_size_t(24), 0), 'landlock')
        try:
            self._allow(rules, '/', _LANDLOCK_REFER)
            self._checked(self._c.syscall(_LANDLOCK_RESTRICT, rules, 0), 'landlock')
        finally:
            os.close(rules)

    def _allow(self, rules: int, path: str, allowed: int) -> None:
        try:
            handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            return
        try:
            if not os.path.isdir(path):
                allowed &= _LANDLOCK_EXECUTE | _LANDLOCK_READ_FILE | _LANDLOCK_WRITE_FILE | _LANDLOCK_TRUNCATE
            rule = ctypes.create_string_buffer(struct.pack('=Qi', allowed, handle), 12)
            self._checked(self._c.syscall(_LANDLOCK_ADD, rules, 1, rule, 0), f'landlock {path}')
        finally:
            os.close(handle)

