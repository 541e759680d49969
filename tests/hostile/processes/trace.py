"""Traces the server, the trainer and another process.
expect: error
"""
import ctypes, os
c = ctypes.CDLL(None, use_errno=True)
done = []
for process in (int('@victim@'), os.getppid()):
    for request in (16, 0x4206):
        if c.ptrace(request, process, 0, 0) == 0:
            done.append((request, process))
            c.ptrace(17, process, 0, 0)
if c.ptrace(0, 0, 0, 0) == 0:
    done.append('traced by its parent')
raise RuntimeError(f'BROKEN {done}' if done else 'nothing')
