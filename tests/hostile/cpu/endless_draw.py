"""Never ends drawing.
expect: timeout
"""
import matplotlib.pyplot as plt


class Endless(plt.Line2D):
    def draw(self, renderer):
        while True:
            pass


plt.gca().add_artist(Endless([0, 1], [0, 1]))
