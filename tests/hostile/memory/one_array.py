"""Asks for more memory than there is in one go.
expect: memory
"""
import numpy as np
np.ones((100_000, 100_000))
