"""Sends a draw list whose index is nested a million deep.
expect: forbidden|output
"""
import sys
import matplotlib.pyplot as plt
plt.plot([1, 2])
index = b'[' * 1_000_000 + b' ' * 0
renderer = sys.modules['recoder_jax.charts.draw_list'].RecordingRenderer
renderer.encode = lambda self, claims: b'DRAW' + len(index).to_bytes(4, 'little') + index
