"""Writes the beginning of a result and waits.
expect: timeout
"""
import os, stat, time
for number in range(256):
    try:
        if stat.S_ISFIFO(os.fstat(number).st_mode):
            os.write(number, b'\x10\0\0\0{"status":')
    except OSError:
        pass
time.sleep(60)
