"""Sends a draw list that ends in the middle.
expect: forbidden|output
"""
import sys
import matplotlib.pyplot as plt
plt.plot([1, 2])
renderer = sys.modules['recoder_jax.charts.draw_list'].RecordingRenderer
encode = renderer.encode
renderer.encode = lambda self, claims: encode(self, claims)[:-1000]
