"""Nests long names, so that a path is longer than a path may be.
expect: ok|output
"""
import os
import matplotlib.pyplot as plt
plt.plot([1])
for _ in range(200):
    os.mkdir('d' * 255)
    os.chdir('d' * 255)
    open('f' * 255, 'w').close()
