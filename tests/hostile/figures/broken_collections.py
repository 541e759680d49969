"""Draws collections whose arrays do not fit each other.
expect: ok|error|output|killed|forbidden
"""
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.collections import QuadMesh, TriMesh
from matplotlib.tri import Triangulation
axes = plt.gca()
mesh = axes.pcolormesh(np.random.rand(5, 5))
mesh._coordinates = np.full((6, 6, 2), np.nan)
mesh._meshWidth = 10_000_000
triangles = Triangulation([0, 1, 0], [0, 0, 1])
triangles.triangles = np.array([[0, 1, 2]], np.int32)
triangles.x = np.array([np.nan, 1e308, -1e308])
axes.add_collection(TriMesh(triangles))
axes.scatter([1], [1]).set_offsets(np.full((3, 2), 1e308))
