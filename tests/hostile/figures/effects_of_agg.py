"""Filters pixels by a function of its own, which no replay can take over.
expect: ok|output|timeout
"""
import matplotlib.pyplot as plt
import numpy as np
line, = plt.plot([1, 2])
line.set_agg_filter(lambda image, dpi: (np.ones((2000, 2000, 4)), -500, -500))
