"""Mounts, binds, changes root and uses the newer mount calls.
expect: error
"""
import ctypes
c = ctypes.CDLL(None, use_errno=True)
done = []
for name, call in {'mount': (165, b'x', b'@folder@/empty', b'tmpfs', 0, None), 'bind': (165, b'@folder@/empty',
                                                                                        b'@folder@/empty', None, 4096,
                                                                                        None),
                   'umount': (166, b'@folder@/empty', 2), 'pivot_root': (155, b'.', b'.'), 'chroot': (161, b'.'),
                   'open_tree': (428, -100, b'/', 1), 'fsopen': (430, b'tmpfs', 0), 'fspick': (433, -100, b'/', 0),
                   'mount_setattr': (442, -100, b'/', 0, ctypes.create_string_buffer(32), 32), 'swapon': (167, b'mine',
                                                                                                          0)}.items():
    if c.syscall(*call) >= 0:
        done.append(name)
raise RuntimeError(f'BROKEN {done}' if done else 'nothing')
