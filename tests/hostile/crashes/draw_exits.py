"""Exits without a code inside the draw.
expect: error|ok
"""
import sys
import matplotlib.pyplot as plt
plt.gcf().canvas.mpl_connect('draw_event', lambda event: sys.exit(0))
plt.gca().draw = lambda renderer: sys.exit(0)
