"""Raises an exception that is no error inside the draw.
expect: error
"""
import matplotlib.pyplot as plt


class Raising(plt.Line2D):
    def draw(self, renderer):
        raise KeyboardInterrupt('in draw')


plt.gca().add_artist(Raising([0, 1], [0, 1]))
