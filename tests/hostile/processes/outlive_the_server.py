"""Undoes its death with the server and then waits to be forgotten.
expect: timeout
"""
import ctypes, os, signal, time
c = ctypes.CDLL(None)
c.prctl(1, 0, 0, 0, 0)
c.prctl(36, 1, 0, 0, 0)
for number in range(1, 65):
    try:
        signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError):
        pass
try:
    os.setsid()
except OSError:
    pass
time.sleep(60)
