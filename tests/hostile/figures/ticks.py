"""Sets two million ticks.
expect: timeout|memory|error|output|ok
"""
import matplotlib.pyplot as plt
plt.plot([1])
plt.xticks(range(2_000_000))
