"""Scatters ten million points.
expect: timeout|memory|output|ok
"""
import matplotlib.pyplot as plt
import numpy as np
points = np.random.rand(2, 10_000_000)
plt.scatter(*points)
