"""Draws at infinite, undefined and huge places with huge widths.
expect: ok|error|output|timeout|killed
"""
import matplotlib.pyplot as plt
import numpy as np
axes = plt.gca()
values = np.array([0, 1, np.nan, np.inf, -np.inf, 1e308, -1e308, 1e-320])
axes.plot(values, values[::-1], linewidth=1e300, transform=None)
axes.scatter(values, values, s=1e300)
axes.fill_between(values, values, -values, transform=axes.transAxes)
axes.set_xlim(0, 1), axes.set_ylim(0, 1)
axes.text(1e308, -1e308, 'far', rotation=1e308)
