"""Removes its working directory and works on.
expect: ok
"""
import os
import matplotlib.pyplot as plt
plt.plot([1])
here = os.getcwd()
for remove in (lambda: os.rmdir(here), lambda: os.rename(here, here + '-gone'), lambda: os.mkdir('inner')):
    try:
        remove()
    except OSError:
        pass
os.chdir('inner')
os.rmdir('../inner')
