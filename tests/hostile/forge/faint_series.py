"""Draws series in greys and tints that no eye tells from the background."""
import matplotlib.pyplot as plt
figure, axes = plt.subplots(figsize=(4, 3))
axes.bar([1, 2, 3], [3, 1, 2], color='#1F77B4')
axes.set_title('Plain')
# forge
axes.get_xlim(), axes.set_autoscale_on(False)
axes.plot([0.5, 3.4], [3.1, 3.1], color='#F8F8F8', linewidth=2, zorder=0)
axes.plot([0.5, 3.4], [3.0, 3.0], color='#F8F8F8', linewidth=2, zorder=0)
axes.scatter([1.5, 2.5], [2.5, 2.5], color='#FFF8F8', zorder=0)
# end
