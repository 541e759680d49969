"""Stuffs series of every type that are transparent, outside of the limits, hidden or without width."""
import matplotlib.pyplot as plt
figure, axes = plt.subplots(figsize=(4, 3))
axes.bar([1, 2, 3], [3, 1, 2], color='#1F77B4')
axes.set_title('Plain')
# forge
import numpy as np
axes.get_xlim(), axes.set_autoscale_on(False)
grid = np.arange(9).reshape(3, 3)
for hide in ({'alpha': 0}, {'visible': False}):
    axes.plot([1, 2], [1, 2], color='#D62728', **hide)
    axes.plot([1, 2], [2, 1], color='#2CA02C', **hide)
    axes.pie([1, 2, 3], wedgeprops=hide, frame=True)
    axes.imshow(grid, cmap='viridis', **hide)
    axes.scatter([1, 2], [1, 2], color='#FF7F0E', **hide)
    axes.hist([1, 2, 2], color='#9467BD', **hide)
axes.plot([100, 200], [100, 200], color='#D62728')
axes.scatter([100], [100], color='#FF7F0E')
axes.imshow(grid, extent=(100, 101, 100, 101), cmap='viridis')
axes.plot([1, 2], [1, 2], color='#D62728', linewidth=0)
axes.scatter([1], [1], s=0, color='#FF7F0E', linewidth=0)
axes.set_aspect('auto')
axes.set_xlim(0.46, 3.54), axes.set_ylim(0, 3.15)
axes.set_axis_on()
# end
axes.set_xlim(0.46, 3.54), axes.set_ylim(0, 3.15)
axes.set_xticks([1, 2, 3]), axes.set_yticks([0, 1, 2, 3])
axes.set_frame_on(True)
