"""Writes a letter a mile high.
expect: timeout|memory|output|error|ok|killed
"""
import matplotlib.pyplot as plt
plt.text(0.5, 0.5, 'M' * 100, size=100_000, rotation=45)
