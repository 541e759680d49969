"""Dashes a long line with dashes shorter than any pixel, which costs the rasteriser minutes.
expect: timeout|output|error|ok
"""
import matplotlib.pyplot as plt
for number in range(40):
    plt.plot([0, 1], [number, 1], linestyle=(0, (1e-7, 1e-7)), linewidth=50)
