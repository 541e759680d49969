"""Reads the memory behind its environment and argument strings, where a parent might have left some.
expect: error|killed
"""
import ctypes, re
environ = ctypes.POINTER(ctypes.c_void_p).in_dll(ctypes.CDLL(None), 'environ')
first = min(value for value in (environ[i] for i in range(3)) if value)
data = ctypes.string_at(first - 1500, 3000)
raise RuntimeError(str(re.findall(rb'planted-[a-z]+-[0-9a-f]+', data)))
