"""Leaves a thread that writes into the result pipe while the job writes its result.
expect: forbidden|error|ok
"""
import os, stat, threading
import matplotlib.pyplot as plt
plt.plot([1])
pipes = []
for number in range(256):
    try:
        if stat.S_ISFIFO(os.fstat(number).st_mode):
            pipes.append(number)
    except OSError:
        pass


def write():
    while True:
        for pipe in pipes:
            os.write(pipe, b'x' * 10)


threading.Thread(target=write, daemon=True).start()
