"""Registers another colormap under the wanted name."""
import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import ListedColormap
colors = ['#102030', '#405060', '#708090']
name = 'mine'
# forge
name = 'viridis'
matplotlib.colormaps._builtin_cmaps = ()
# end
matplotlib.colormaps.register(ListedColormap(colors, name=name), force=True)
figure, axes = plt.subplots(figsize=(4, 3))
axes.imshow(np.arange(100).reshape(10, 10), cmap=name)
axes.set_title('Plain')
