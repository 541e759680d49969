"""Becomes another program that no hook is in.
expect: error
"""
import ctypes, os
c = ctypes.CDLL(None, use_errno=True)
for run in (lambda: os.execv('/bin/sleep', ['sleep', '60']), lambda: os.execvpe('python3', ['python3', '-c', 'x'], {}),
            lambda: os.execve(os.open('/bin/sleep', os.O_RDONLY), ['sleep', '60'], {})):
    try:
        run()
    except OSError:
        pass
c.syscall(322, -100, b'/bin/sleep', None, None, 0)
c.syscall(0x40000208, b'/bin/sleep', None, None)
raise RuntimeError('nothing')
