"""Ends its process as if all were well.
expect: forbidden|error
"""
import os
import matplotlib.pyplot as plt
plt.plot([1])
os._exit(0)
