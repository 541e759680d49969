"""Opens a secret by system calls that no library wraps: open, openat, openat2, creat.
expect: error
"""
import ctypes, os
c = ctypes.CDLL(None, use_errno=True)
loot = []
how = (ctypes.c_uint64 * 3)(0, 0, 0)
for call in ((2, b'@secret@', 0, 0), (257, -100, b'@secret@', 0), (437, -100, b'@secret@', how, 24), (56, -100,
                                                                                                      b'@secret@', 0)):
    handle = c.syscall(*call)
    if handle >= 0:
        try:
            loot.append(os.read(handle, 99))
        except OSError:
            pass
raise RuntimeError(str(loot))
