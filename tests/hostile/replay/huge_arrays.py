"""Sends a draw list that says its arrays are larger than memory.
expect: forbidden|output
"""
import sys
import matplotlib.pyplot as plt
plt.plot([1, 2])
module = sys.modules['recoder_jax.charts.draw_list']
encode = module._Writer.encode


def forged(self, width, height, claims):
    self._shapes[:] = [['d', 1_000_000_000, 1_000_000_000] for _ in self._shapes]
    return encode(self, width, height, claims)


module._Writer.encode = forged
