"""Sends a draw list whose rows refer to nothing, to negative places and to numbers of other types.
expect: forbidden|output
"""
import sys
import matplotlib.pyplot as plt
plt.plot([1, 2])
plt.text(0, 1, 'text')
writer = sys.modules['recoder_jax.charts.draw_list']._Writer
encode = writer.encode


def forged(self, width, height, claims):
    for number, row in enumerate(self.operations):
        row[1:3] = [(-1, 1 << 40, 0.5, None, True)[number % 5], -1]
    return encode(self, width, height, claims)


writer.encode = forged
