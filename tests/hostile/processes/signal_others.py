"""Signals another process, the trainer, its group and everyone, by every call there is.
expect: error
"""
import ctypes, os, signal
c = ctypes.CDLL(None, use_errno=True)
done = []
victim, parent, server = int('@victim@'), int('@parent@'), os.getppid()
for target, number in ((victim, signal.SIGTERM), (parent, signal.SIGURG), (server, signal.SIGURG), (0, signal.SIGURG),
                       (-1, signal.SIGURG), (-parent, signal.SIGURG), (-server, signal.SIGURG)):
    try:
        os.kill(target, number)
        done.append((target, number))
    except OSError:
        pass
info = ctypes.create_string_buffer(128)
for call in ((200, victim, 15), (234, victim, victim, 15), (129, victim, 15, info), (297, victim, victim, 15, info)):
    if c.syscall(*call) == 0:
        done.append(call[0])
handle = c.syscall(434, victim, 0)
if handle >= 0 and c.syscall(424, handle, 15, None, 0) == 0:
    done.append('pidfd')
raise RuntimeError(f'BROKEN {done}' if done else 'nothing')
