"""Closes the result before the job can write it.
expect: error|forbidden
"""
import os
import matplotlib.pyplot as plt
plt.plot([1])
os.closerange(3, 1024)
