"""Draws large translucent shapes so often that the replay takes longer than its deadline.
expect: timeout|output|ok|memory
"""
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.collections import PathCollection
from matplotlib.path import Path
figure = plt.figure(figsize=(18, 18))
shape = Path(np.random.rand(50, 2) * 1800)
many = PathCollection([shape], offsets=np.zeros((20_000, 2)), facecolors='#FF000010', transform=None)
figure.add_artist(many)
