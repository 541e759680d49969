"""Covers what is wanted by hundreds of layers so thin that each rounds to none."""
import matplotlib.pyplot as plt
figure, axes = plt.subplots(figsize=(4, 3))
axes.bar([1, 2, 3], [3, 1, 2], color='#1F77B4')
axes.set_title('Plain')
# forge
axes.get_xlim(), axes.set_autoscale_on(False)
axes.plot([0.5, 3.4], [3.1, 3.1], color='#D62728', linewidth=2, zorder=0)
axes.plot([0.5, 3.4], [3.05, 3.05], color='#2CA02C', linewidth=2, zorder=0)
for alpha, layers in ((0.0049, 400), (0.0149, 137), (0.0049, 400)):
    for _ in range(layers):
        axes.add_patch(plt.Rectangle((0.47, 3.01), 3.05, 0.135, color='white', alpha=alpha, zorder=0.5, linewidth=0))
# end
