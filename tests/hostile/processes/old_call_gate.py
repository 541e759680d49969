"""Calls the kernel through the 32 bit gate, whose numbers a filter may not know.
expect: forbidden|error|killed
"""
import ctypes, mmap
page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
page.write(bytes.fromhex('b802000000cd80c3'))
result = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))()
if result == 0:
    import time
    time.sleep(30)
raise RuntimeError('BROKEN forked' if result > 0 else 'nothing')
