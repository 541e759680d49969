"""Warns 20,000 times, each with a long text, and logs as much.
expect: ok
"""
import logging, warnings
import matplotlib.pyplot as plt
warnings.simplefilter('always')
for number in range(20_000):
    warnings.warn(f'{number}' * 100)
    logging.warning('x' * 1_000)
plt.plot([1])
