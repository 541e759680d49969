"""Gives the recorder containers that never end.
expect: ok|error|timeout
"""
import itertools
import matplotlib.pyplot as plt


class Endless(list):
    def __iter__(self):
        return itertools.count()

    def __len__(self):
        return 1 << 60


bars = plt.bar([1, 2], [3, 4])
bars.patches = Endless()
plt.gca().containers.append(Endless())
