"""Draws paths with codes that mean nothing and counts that do not fit.
expect: ok|error|output|killed|forbidden
"""
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import PathPatch
from matplotlib.path import Path
for codes in ([1, 4], [4, 4, 4], [79], [3, 3], [2, 2], [0, 0], [1, 3, 79, 4]):
    path = Path(np.random.rand(len(codes), 2))
    path._codes = np.array(codes, np.uint8)
    plt.gca().add_patch(PathPatch(path))
path = Path(np.random.rand(3, 2))
path._codes = np.array([250] * 3, np.uint8)
plt.gca().add_patch(PathPatch(path))
plt.gca().set_clip_path(PathPatch(path))
