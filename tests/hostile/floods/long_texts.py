"""Draws a title with 20 million characters.
expect: error|memory|timeout|output|killed|ok
"""
import matplotlib.pyplot as plt
plt.title('x' * 20_000_000)
