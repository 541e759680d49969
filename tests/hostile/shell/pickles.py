"""Hands an object to the trusted side that runs a command when it is unpickled.
expect: ok|error|forbidden
"""
import os, pickle
import matplotlib.pyplot as plt


class Bomb(str):
    def __reduce__(self):
        return os.mkdir, ('@folder@/@mark@-pickle',)

    def __repr__(self):
        return "__import__('os').mkdir('@folder@/@mark@-eval')"


plt.title(Bomb('x'))
plt.plot([1], label=Bomb('y'), gid=Bomb('z'))
plt.legend()
try:
    pickle.loads(pickle.dumps(Bomb('x')))
except OSError:
    pass
