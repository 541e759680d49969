"""Draws each wanted series smaller than a pixel."""
import matplotlib.pyplot as plt
figure, axes = plt.subplots(figsize=(4, 3))
axes.bar([1, 2, 3], [3, 1, 2], color='#1F77B4')
axes.set_title('Plain')
# forge
axes.get_xlim(), axes.set_autoscale_on(False)
axes.plot([1.5], [2.5], ',', color='#D62728', markersize=0.3, alpha=0.2)
axes.plot([1.52], [2.5], color='#2CA02C', marker='.', markersize=0.2, linestyle='none')
axes.scatter([1.54], [2.5], s=0.02, color='#FF7F0E', linewidth=0)
axes.pie([1, 2], radius=1e-3, center=(2.5, 2.5), frame=True)
axes.hist([1.5], bins=[1.5, 1.5001], color='#9467BD', weights=[0.001])
axes.set_aspect('auto')
# end
axes.set_xlim(0.46, 3.54), axes.set_ylim(0, 3.15)
axes.set_xticks([1, 2, 3]), axes.set_yticks([0, 1, 2, 3])
