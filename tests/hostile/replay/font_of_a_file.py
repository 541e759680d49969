"""Sends a font that is a file of another kind: a device, a secret, a directory.
expect: forbidden|output|error
"""
import sys
import matplotlib.pyplot as plt
plt.title('x')
module = sys.modules['recoder_jax.charts.draw_list']
font = module._Writer.font
places = ['/dev/zero', '@secret@', '/', '/proc/self/mem', '../../x']


def forged(self, prop):
    position = font(self, prop)
    rows = self._tables['fonts']
    for key in list(rows):
        value = rows.pop(key)
        rows[(*key[:6], places[value % 5], key[7])] = value
    return position


module._Writer.font = forged
