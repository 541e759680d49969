"""Prints from C, where no Python hook sees it.
expect: ok
"""
import ctypes
import matplotlib.pyplot as plt
c = ctypes.CDLL(None)
for _ in range(2_000):
    c.puts(b'x' * 10_000)
c.perror(b'y' * 100_000)
plt.plot([1])
