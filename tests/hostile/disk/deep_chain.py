"""Nests 3,000 directories, which kills a wipe that recurses.
expect: ok|output
"""
import os
import matplotlib.pyplot as plt
plt.plot([1])
for _ in range(3_000):
    os.mkdir('d')
    os.chdir('d')
