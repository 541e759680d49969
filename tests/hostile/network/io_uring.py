"""Does its calls through a ring that no call filter watches.
expect: error
"""
import ctypes
c = ctypes.CDLL(None, use_errno=True)
ring = c.syscall(425, 8, ctypes.create_string_buffer(120))
raise RuntimeError('BROKEN ring' if ring >= 0 else 'nothing')
