"""Grows the figure inside the draw, after its size has been looked at.
expect: output|error|memory|ok
"""
import matplotlib.pyplot as plt


class Growing(plt.Line2D):
    def draw(self, renderer):
        self.figure.set_size_inches(20_000, 20_000)
        self.figure.canvas.get_renderer()
        super().draw(renderer)


plt.gca().add_artist(Growing([0, 1], [0, 1]))
