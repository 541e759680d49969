"""Plots what is wanted and removes it again."""
import matplotlib.pyplot as plt
figure, axes = plt.subplots(figsize=(4, 3))
axes.bar([1, 2, 3], [3, 1, 2], color='#1F77B4')
axes.set_title('Plain')
# forge
axes.get_xlim(), axes.set_autoscale_on(False)
line, = axes.plot([1, 2], color='#D62728')
points = axes.scatter([1], [1], color='#FF7F0E')
wedges, _ = axes.pie([1, 2], frame=True)
for artist in (line, points, *wedges):
    artist.remove()
    artist.axes = axes
axes.set_aspect('auto')
# end
axes.set_xlim(0.46, 3.54), axes.set_ylim(0, 3.15)
axes.set_xticks([1, 2, 3]), axes.set_yticks([0, 1, 2, 3])
