"""Sends coordinates and codes that could crash a rasteriser: huge markers, snapped infinities, curves without ends.
expect: ok|output|forbidden|error|timeout|memory
"""
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.path import Path
axes = plt.gca()
axes.set_xlim(0, 1), axes.set_ylim(0, 1)
values = np.array([[0, 0], [1e300, -1e300], [np.inf, np.nan], [1, 1]] * 50)
axes.plot(*values.T, marker=Path(values * 1e5, [1, 2, 2, 2] * 50), snap=True, linewidth=9e4, transform=None)
axes.scatter(*values.T, marker=Path([[0, 0], [1, 1], [2, 0], [0, 0]], [1, 4, 4, 4]), s=1e12)
axes.fill(*values.T, hatch='xX*oO.' * 20, clip_path=(Path(values), axes.transData))
axes.imshow(np.full((3, 3), np.nan), extent=(-1e200, 1e200, -1e-200, 1e200), interpolation='bicubic')
axes.set_xlim(0, 1), axes.set_ylim(0, 1)
