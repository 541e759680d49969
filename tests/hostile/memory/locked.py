"""Locks memory and moves the end of the heap.
expect: error
"""
import ctypes
c = ctypes.CDLL(None, use_errno=True)
c.sbrk.restype = ctypes.c_void_p
done = [name for name, value in {'mlockall': c.mlockall(3), 'memfd': c.syscall(319, b'x', 0)}.items() if value >= 0]
if c.sbrk(ctypes.c_long(8 << 30)) != ctypes.c_void_p(-1).value:
    done.append('heap')
raise RuntimeError(f'BROKEN {done}' if done else 'nothing')
