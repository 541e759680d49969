"""Gives every piece of its ticks to axes of a cell in a grid of its own."""
import matplotlib.pyplot as plt
figure, axes = plt.subplots(figsize=(4, 3))
axes.bar([1, 2, 3], [3, 1, 2], color='#1F77B4')
axes.set_title('Plain')
# forge
from matplotlib.gridspec import GridSpec
place = axes.get_position()
for row in (0, 1):
    for column in (0, 1):
        one = figure.add_axes(place, frameon=False, xlim=(0.46, 3.54), ylim=(0, 3.15))
        one.set_subplotspec(GridSpec(2, 2, figure=figure)[row, column])
        one.set_position(place)
        one.set_xticks([1, 2, 3]), one.set_yticks([0, 1, 2, 3])
# end
