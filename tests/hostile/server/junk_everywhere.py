"""Writes junk into every descriptor it has.
expect: forbidden|error|ok
"""
import os
import matplotlib.pyplot as plt
plt.plot([1])
for number in range(3, 1024):
    try:
        os.set_blocking(number, False)
        os.write(number, b'P\xff\xff\xff\x7fjunk' * 10)
    except OSError:
        pass
