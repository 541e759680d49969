"""Watches directories outside: inotify, fanotify.
expect: error
"""
import ctypes
c = ctypes.CDLL(None, use_errno=True)
done = []
for setup, add in ((294, 254), (253, 254)):
    handle = c.syscall(setup, 0)
    if handle >= 0 and c.syscall(add, handle, b'@folder@', 0xFFF) >= 0:
        done.append(setup)
if c.syscall(300, 0, 0) >= 0:
    done.append('fanotify')
raise RuntimeError(f'BROKEN {done}' if done else 'nothing')
