"""Reads the environment of the trainer from its own.
expect: error
"""
import ctypes, os, re
environ = ctypes.POINTER(ctypes.c_char_p).in_dll(ctypes.CDLL(None), 'environ')
native = []
while environ[len(native)]:
    native.append(environ[len(native)])
raise RuntimeError(str(re.findall('planted-[a-z]+-[0-9a-f]+', f'{dict(os.environ)} {native}')))
