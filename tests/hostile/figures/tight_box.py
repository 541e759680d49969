"""Saves a tight box around an artist a million inches away.
expect: ok|error
"""
import matplotlib.pyplot as plt
plt.plot([1])
plt.text(1e9, 1e9, 'far')
plt.rcParams['savefig.bbox'] = 'tight'
plt.savefig('x.png', bbox_inches='tight', pad_inches=1e5)
