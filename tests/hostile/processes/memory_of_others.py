"""Reads and writes memory of other processes by process_vm_readv and writev.
expect: error
"""
import ctypes, os
c = ctypes.CDLL(None, use_errno=True)
text = ctypes.create_string_buffer(64)
mine = (ctypes.c_uint64 * 2)(ctypes.addressof(text), 8)
theirs = (ctypes.c_uint64 * 2)(id(None), 8)
done = [process for process in (os.getppid(), int('@parent@'), int('@victim@'))
        if c.syscall(310, process, mine, 1, theirs, 1, 0) > 0]
handle = c.syscall(434, os.getppid(), 0)
if handle >= 0 and c.syscall(440, handle, theirs, 1, 4, 0) >= 0:
    done.append('advice')
raise RuntimeError(f'BROKEN {done}' if done else 'nothing')
