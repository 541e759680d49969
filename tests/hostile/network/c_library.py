"""Connects through the C library and by raw call numbers, also those of x32.
expect: error
"""
import ctypes, struct
c = ctypes.CDLL(None, use_errno=True)
address = struct.pack('=HHI8x', 2, int.from_bytes(int('@tcp@').to_bytes(2, 'big'), 'little'), 0x0100007F)
opened = []
for handle in (c.socket(2, 1, 0), c.syscall(41, 2, 1, 0), c.syscall(0x40000029, 2, 1, 0), c.syscall(198, 2, 1, 0)):
    if handle > 2:
        opened.append(c.connect(handle, address, 16))
raise RuntimeError(f'BROKEN {opened}' if opened else 'nothing')
