"""Opens a secret by its file handle, which no path rule sees.
expect: error
"""
import ctypes, os
c = ctypes.CDLL(None, use_errno=True)
handle = ctypes.create_string_buffer((128).to_bytes(4, 'little') + bytes(132), 136)
mount = ctypes.c_int()
loot = b''
c.syscall(303, -100, b'@secret@', handle, ctypes.byref(mount), 0)
for place in (b'/', b'.', b'@folder@', b'/usr'):
    try:
        at = os.open(place, os.O_RDONLY)
        opened = c.syscall(304, at, handle, 0)
        loot += os.read(opened, 99) if opened >= 0 else b''
    except OSError:
        pass
raise RuntimeError(str(loot))
