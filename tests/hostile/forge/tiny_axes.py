"""Adds axes of a billionth of the figure to a grid for the layout."""
import matplotlib.pyplot as plt
figure, axes = plt.subplots(figsize=(4, 3))
axes.bar([1, 2, 3], [3, 1, 2], color='#1F77B4')
axes.set_title('Plain')
# forge
grid = figure.add_gridspec(2, 2, width_ratios=(1, 1e-9), height_ratios=(1, 1e-9), wspace=0, hspace=0)
axes.set_position([0.125, 0.11, 0.775, 0.77])
for row, column in ((0, 0), (0, 1), (1, 0), (1, 1)):
    one = figure.add_subplot(grid[row, column], zorder=-3)
    one.set_axis_off()
    one.bar([1], [1], alpha=0)
# end
