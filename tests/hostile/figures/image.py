"""Shows an image of 400 million pixels.
expect: ok|memory|output|timeout
"""
import matplotlib.pyplot as plt
import numpy as np
plt.imshow(np.zeros((20_000, 20_000), np.uint8), extent=(0, 1e-300, 0, 1e300), interpolation='lanczos')
