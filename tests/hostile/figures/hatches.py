"""Hatches with 100,000 lines.
expect: timeout|memory|output|error|ok
"""
import matplotlib.pyplot as plt
plt.rcParams['hatch.linewidth'] = 1e-6
plt.bar([1], [1], hatch='/' * 100_000)
