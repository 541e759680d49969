"""Writes its result byte by byte, so that no read ever waits long.
expect: timeout
"""
import os, stat, time
pipes = []
for number in range(3, 256):
    try:
        if stat.S_ISFIFO(os.fstat(number).st_mode):
            pipes.append(number)
    except OSError:
        pass
while True:
    for pipe in pipes:
        os.write(pipe, b'\0')
    time.sleep(0.01)
