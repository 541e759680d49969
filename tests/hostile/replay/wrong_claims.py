"""Sends claims with parents in circles, cells outside of their grids and calls of axes that are not there.
expect: forbidden|output
"""
import sys
import matplotlib.pyplot as plt
plt.plot([1, 2])
module = sys.modules['recoder_jax.charts.draw_list']
encode = module._Writer.encode


def forged(self, width, height, claims):
    claims = {'axes': [[1, 0, [1, 1, 0, 0, 0, 0]], [0, 0, [2, 2, 5, 9, -1, 1 << 19]]]}
    claims['calls'] = [['plot', 7, ['#12345G']]] * 20_000
    return encode(self, width, height, claims)


module._Writer.encode = forged
