"""Saves with a million dots an inch.
expect: ok|output
"""
import matplotlib.pyplot as plt
plt.figure(figsize=(2, 2), dpi=1e6)
plt.plot([1])
plt.savefig('x.png', dpi=1e6, bbox_inches='tight')
