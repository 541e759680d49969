"""Makes a thousand axes.
expect: ok|timeout|output|memory
"""
import matplotlib.pyplot as plt
plt.subplots(32, 32)
