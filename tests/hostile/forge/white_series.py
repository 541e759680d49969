"""Draws series of every type in the colour of the background, claiming other colours after the draw."""
import matplotlib.pyplot as plt
figure, axes = plt.subplots(figsize=(4, 3))
axes.bar([1, 2, 3], [3, 1, 2], color='#1F77B4')
axes.set_title('Plain')
# forge
axes.get_xlim(), axes.set_autoscale_on(False)
line, = axes.plot([0.5, 3], [2.9, 2.9], color='white', zorder=-1)
points = axes.scatter([1], [3.1], color='white', zorder=-1)
draw = figure.draw


def colour_afterwards(renderer):
    draw(renderer)
    line.set_color('#D62728')
    points.set_color('#FF7F0E')


figure.draw = colour_afterwards
# end
