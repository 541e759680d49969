"""Adds a grid of axes with frames, covered by the patch of the honest one."""
import matplotlib.pyplot as plt
figure, axes = plt.subplots(figsize=(4, 3))
axes.bar([1, 2, 3], [3, 1, 2], color='#1F77B4')
axes.set_title('Plain')
# forge
from matplotlib.gridspec import GridSpec
for cell in GridSpec(2, 2, left=0.2, right=0.8, bottom=0.2, top=0.8):
    one = figure.add_subplot(cell, zorder=-5)
    one.set_xticks([]), one.set_yticks([])
    one.plot([1, 2], color='#D62728')
# end
