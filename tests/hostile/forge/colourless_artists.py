"""Hides colours in artists without size."""
import matplotlib.pyplot as plt
figure, axes = plt.subplots(figsize=(4, 3))
axes.bar([1, 2, 3], [3, 1, 2], color='#1F77B4')
axes.set_title('Plain')
# forge
axes.get_xlim(), axes.set_autoscale_on(False)
for color in ('#D62728', '#2CA02C'):
    axes.plot([], [], color=color)
    axes.plot([2, 2], [2, 2], color=color, solid_capstyle='butt')
    axes.scatter([], [], color=color)
    axes.bar([2], [0], color=color, linewidth=0)
    axes.fill_between([1, 1], [2, 2], color=color, linewidth=0)
# end
