"""Draws a text with ten thousand path effects.
expect: timeout|memory|output|ok
"""
import matplotlib.patheffects as effects
import matplotlib.pyplot as plt
plt.title('heavy ' * 20, path_effects=[effects.withStroke(linewidth=number % 50) for number in range(10_000)])
