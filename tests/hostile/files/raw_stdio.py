"""Reads a secret with the C library: fopen, mmap, freopen, opendir.
expect: error
"""
import ctypes
c = ctypes.CDLL(None, use_errno=True)
c.fopen.restype = c.opendir.restype = c.mmap.restype = ctypes.c_void_p
loot = []
stream = c.fopen(b'@secret@', b'r')
if stream:
    text = ctypes.create_string_buffer(99)
    c.fread(text, 1, 98, ctypes.c_void_p(stream))
    loot.append(text.value)
if c.opendir(b'@folder@'):
    loot.append('BROKEN directory opened')
raise RuntimeError(str(loot))
