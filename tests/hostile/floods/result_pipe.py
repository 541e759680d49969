"""Writes without end into the pipe of the result.
expect: output|error|forbidden
"""
import os, stat
for number in range(256):
    try:
        if stat.S_ISFIFO(os.fstat(number).st_mode):
            while True:
                os.write(number, bytes(1 << 20))
    except OSError:
        pass
