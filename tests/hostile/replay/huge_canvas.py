"""Sends a draw list for a canvas larger than allowed.
expect: forbidden|output
"""
import sys
import matplotlib.pyplot as plt
plt.plot([1, 2])
module = sys.modules['recoder_jax.charts.draw_list']
encode = module._Writer.encode
module._Writer.encode = lambda self, width, height, claims: encode(self, 60_000, 60_000, claims)
