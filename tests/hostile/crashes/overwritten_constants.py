"""Overwrites True and small numbers in memory.
expect: ok|error|killed|forbidden|internal|timeout
"""
import ctypes
import matplotlib.pyplot as plt
plt.plot([1])
for number in (0, 1, 4, 100, 255):
    ctypes.memmove(id(number) + 24, (7).to_bytes(4, 'little'), 4)
