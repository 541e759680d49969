"""Draws lines so shaky that each has billions of vertices.
expect: timeout|memory|output|error|ok|killed
"""
import matplotlib.pyplot as plt
plt.plot([0, 1], [0, 1], sketch_params=(1e-9, 1e-9, 1e-9))
