"""Changes mode, owner, times and attributes of a file outside, also by raw calls.
expect: error
"""
import ctypes, os
c = ctypes.CDLL(None)
done = []
for change in (lambda: os.chmod('@secret@', 0o777), lambda: os.chown('@secret@', os.getuid(), 12345),
               lambda: os.utime('@secret@', (0, 0)), lambda: os.setxattr('@secret@', 'user.x', b'x'),
               lambda: os.fchmod(os.open('@secret@', os.O_PATH), 0o777), lambda: os.lchown('@secret@', 12345, 12345)):
    try:
        change()
        done.append(change)
    except OSError:
        pass
for call in ((90, b'@secret@', 0o777), (268, -100, b'@secret@', 0o777), (452, -100, b'@secret@', 0o777, 0),
             (132, b'@secret@', None), (280, -100, b'@secret@', None, 0)):
    if c.syscall(*call) == 0:
        done.append(call)
if done:
    raise RuntimeError(f'BROKEN {len(done)} changes')
raise RuntimeError('nothing')
