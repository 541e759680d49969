"""Runs out of memory and runs on in every handler it has.
expect: ok|memory|error|killed
"""
import matplotlib.pyplot as plt
plt.plot([1])


class Greedy:
    def __del__(self):
        try:
            bytes(4 << 30)
        except MemoryError as error:
            self.error = error


kept = [Greedy() for _ in range(100)]
del kept
