"""Leaves directories that may not be entered or changed.
expect: ok
"""
import os
import matplotlib.pyplot as plt
plt.plot([1])
os.umask(0o777)
os.mkdir('closed')
for number in range(5):
    os.mkdir(f'd{number}', 0o500)
    open(f'file{number}', 'w').close()
os.umask(0)
os.mkdir('dark', 0)
