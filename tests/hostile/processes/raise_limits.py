"""Raises its own limits and those of others.
expect: error
"""
import ctypes, os, resource
done = []
for kind in (resource.RLIMIT_AS, resource.RLIMIT_CPU, resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE,
             resource.RLIMIT_CORE):
    for raise_it in (lambda: resource.setrlimit(kind, (-1, -1)), lambda: resource.prlimit(0, kind, (-1, -1)),
                     lambda: resource.prlimit(os.getppid(), kind, (1, 1))):
        try:
            raise_it()
            done.append(kind)
        except (OSError, ValueError):
            pass
limits = (ctypes.c_uint64 * 2)(2**63, 2**63)
if ctypes.CDLL(None).syscall(160, 9, limits) == 0 or ctypes.CDLL(None).syscall(302, 0, 9, limits, None) == 0:
    done.append('raw')
raise RuntimeError(f'BROKEN {done}' if done else 'nothing')
