"""Lets the kernel signal others for it: descriptor owners, timers, message queues.
expect: error
"""
import ctypes, fcntl, os, signal, struct
c = ctypes.CDLL(None, use_errno=True)
done = []
reading, writing = os.pipe()
for target in (int('@victim@'), int('@parent@'), os.getppid()):
    try:
        fcntl.fcntl(reading, fcntl.F_SETOWN, target)
        fcntl.fcntl(reading, 10, signal.SIGTERM if target == int('@victim@') else signal.SIGURG)
        fcntl.fcntl(reading, fcntl.F_SETFL, os.O_ASYNC)
        os.write(writing, b'x')
    except OSError:
        pass
event = ctypes.create_string_buffer(struct.pack('@QiiI', 0, 15, 4, int('@victim@')), 64)
if c.syscall(222, 1, event, ctypes.create_string_buffer(4)) == 0:
    done.append('timer')
raise RuntimeError(f'BROKEN {done}' if done else 'nothing')
