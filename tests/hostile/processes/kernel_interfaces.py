"""Opens rarely watched parts of the kernel.
expect: error
"""
import ctypes
c = ctypes.CDLL(None, use_errno=True)
done = []
space = ctypes.create_string_buffer(256)
for name, call in {'bpf': (321, 0, space, 48), 'perf': (298, space, 0, -1, -1, 0), 'userfaultfd': (323, 0),
                   'memfd_secret': (447, 0),
                   'kcmp': (312, 1, 1, 0, 0, 0), 'add module': (313, 0, b'', 0), 'kexec': (246, 0, 0, None, 0),
                   'acct': (163, None),
                   'quota': (179, 0, None, 0, None), 'landlock of pid': (448, 0, 0), 'io_setup': (206, 1, space),
                   'sethostname': (170, b'recoder', 0), 'ioperm': (173, 0, 1, 1), 'iopl': (172, 3), 'syslog': (103, 3,
                                                                                                               space,
                                                                                                               9),
                   'modify_ldt': (154, 0, space, 16), 'lookup_dcookie': (212, 0, space, 9)}.items():
    if c.syscall(*call) >= 0:
        done.append(name)
raise RuntimeError(f'BROKEN {done}' if done else 'nothing')
