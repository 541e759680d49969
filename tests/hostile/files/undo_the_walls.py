"""Installs permissive rules of its own and then reads a secret.
expect: error
"""
import ctypes, struct
c = ctypes.CDLL(None, use_errno=True)
allow = ctypes.create_string_buffer(struct.pack('=HBBI', 6, 0, 0, 0x7FFF0000), 8)
program = ctypes.create_string_buffer(struct.pack('@HxxxxxxP', 1, ctypes.addressof(allow)), 16)
c.prctl(22, 2, program)
c.syscall(317, 1, 0, program)
rules = c.syscall(444, ctypes.create_string_buffer(struct.pack('=Q', 4), 8), ctypes.c_size_t(8), 0)
c.syscall(446, rules, 0)
c.prctl(38, 0, 0, 0, 0)
c.prctl(4, 1, 0, 0, 0)
try:
    loot = open('@secret@').read()
except OSError:
    loot = ''
raise RuntimeError(loot)
