"""Draws a figure a million inches wide.
expect: output|error|memory
"""
import matplotlib.pyplot as plt
plt.figure(figsize=(1e6, 1e6))
plt.plot([1])
