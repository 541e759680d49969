"""Runs out of memory inside the draw.
expect: memory|error|output
"""
import matplotlib.pyplot as plt
import numpy as np
plt.imshow(np.broadcast_to(np.float32(1), (60_000, 60_000)))
