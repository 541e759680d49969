"""Searches the heap for freed secrets, page by page through a pipe so that no fault ends it.
expect: error|forbidden
"""
import ctypes, os, re
reading, writing = os.pipe()
os.set_blocking(reading, False)
c = ctypes.CDLL(None)
loot, here = set(), id(object()) & ~4095
for page in range(here - (4096 << 10), here + (4096 << 10), 4096):
    if c.write(writing, ctypes.c_void_p(page), ctypes.c_size_t(4096)) == 4096:
        loot |= set(re.findall(rb'planted-[a-z]+-[0-9a-f]{8,}', os.read(reading, 4096)))
raise RuntimeError(str(loot))
