"""Starts processes by raw calls: fork, vfork, clone, clone3, with unknown and mixed flags.
expect: error
"""
import ctypes, os
c = ctypes.CDLL(None, use_errno=True)
made = []
arguments = ctypes.create_string_buffer(88)
arguments[32:40] = (17).to_bytes(8, 'little')
for name, call in {'fork': (57,), 'clone': (56, 17, 0, 0, 0, 0), 'clone of memory': (56, 0x4111, 0, 0, 0, 0),
                   'clone3': (435, arguments, 88), 'clone new user': (56, 0x10000011, 0, 0, 0, 0),
                   'x32 fork': (0x40000039,), 'high half': (56 | 1 << 40, 17, 0, 0, 0, 0)}.items():
    result = c.syscall(*[ctypes.c_long(value) if isinstance(value, int) else value for value in call])
    if result == 0:
        os._exit(0)
    if result > 0:
        made.append(name)
raise RuntimeError(f'BROKEN {made}' if made else 'nothing')
