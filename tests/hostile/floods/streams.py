"""Prints 300 MB to both streams.
expect: ok
"""
import os, sys
import matplotlib.pyplot as plt
text = 'x' * 1_000_000
for _ in range(100):
    print(text)
    sys.stderr.write(text)
    os.write(1, b'y' * 1_000_000)
plt.plot([1])
