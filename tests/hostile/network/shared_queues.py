"""Meets other processes in System V and POSIX queues and shared memory.
expect: error|forbidden
"""
import ctypes
c = ctypes.CDLL(None, use_errno=True)
done = []
for name, call in {'shmget': (29, 0x7A5E, 4096, 0o1777), 'msgget': (68, 0x7A5E, 0o1777), 'semget': (64, 0x7A5E, 1,
                                                                                                    0o1777),
                   'mq_open': (240, b'recoder', 0o102, 0o777, None), 'memfd': (319, b'x', 0), 'keyctl': (250, 0, -3, 1),
                   'add_key': (248, b'user', b'x', b'x', 1, -3)}.items():
    if c.syscall(*call) >= 0:
        done.append(name)
raise RuntimeError(f'BROKEN {done}' if done else 'nothing')
