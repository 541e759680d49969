"""Sends settings that the renderer reads: negative chunks, unknown fonts, hinting that is no number.
expect: forbidden|output|ok|error
"""
import sys
import matplotlib.pyplot as plt
plt.title('$x^2$')
module = sys.modules['recoder_jax.charts.draw_list']
setting = module._setting
values = {'agg.path.chunksize': -5, 'text.hinting_factor': 0, 'text.kerning_factor': 10**9, 'mathtext.fontset': 'none'}
module._setting = lambda name: values.get(name, setting(name))
