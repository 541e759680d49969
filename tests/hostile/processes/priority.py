"""Takes more of the processor than its share: real-time class, priority, io class.
expect: error
"""
import ctypes, os
done = []
for raise_it in (lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50)), lambda: os.nice(-5),
                 lambda: os.setpriority(os.PRIO_PROCESS, os.getppid(), 19), lambda: os.setpriority(os.PRIO_USER, 0,
                                                                                                   -5)):
    try:
        raise_it()
        done.append('raised')
    except OSError:
        pass
if ctypes.CDLL(None).syscall(251, 1, 0, 1 << 13) == 0:
    done.append('io')
raise RuntimeError(f'BROKEN {done}' if done else 'nothing')
