"""Replaces its scratch directory by a link to a directory outside.
expect: ok
"""
import os
import matplotlib.pyplot as plt
plt.plot([1])
here = os.getcwd()
for replace in (lambda: os.rename(here, here + '.old'), lambda: os.rmdir(here), lambda: os.symlink('@folder@', here),
                lambda: os.symlink('@folder@', here + '.new'), lambda: os.replace(here + '.new', here)):
    try:
        replace()
    except OSError:
        pass
