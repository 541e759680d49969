"""Draws figures without, with negative, infinite and undefined size.
expect: error|output|ok|no_figure
"""
import matplotlib.pyplot as plt
for size in ((0, 0), (-1, 5), (float('inf'), 1), (float('nan'), 1), (1e-300, 1e300)):
    try:
        plt.figure(figsize=size)
    except ValueError:
        pass
figure = plt.figure()
figure.bbox_inches.p1 = (float('nan'), 5)
figure.canvas.get_width_height = lambda **_: (10, 10)
