"""Takes memory piece by piece and catches every refusal.
expect: ok|memory|error
"""
import matplotlib.pyplot as plt
plt.plot([1])
kept, size = [], 64 << 20
while size > 1000:
    try:
        kept.append(bytes(size))
    except MemoryError:
        size //= 2
