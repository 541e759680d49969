"""Turns the fault handler on, onto the result pipe, and crashes.
expect: killed|forbidden
"""
import ctypes, faulthandler, os, stat
for number in range(256):
    try:
        if stat.S_ISFIFO(os.fstat(number).st_mode):
            faulthandler.enable(number)
            faulthandler.dump_traceback_later(0.01, repeat=True, file=number)
    except (OSError, ValueError):
        pass
ctypes.string_at(0)
