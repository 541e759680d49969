"""Is a program of half a million lines.
expect: ok|error|memory|timeout
"""
import matplotlib.pyplot as plt
plt.plot([1])
exec('x = 1\n' * 300_000)
