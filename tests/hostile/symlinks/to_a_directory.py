"""Leaves links to directories outside; emptying the scratch must not follow them.
expect: ok
"""
import os
import matplotlib.pyplot as plt
plt.plot([1])
os.symlink('@folder@', 'link')
os.symlink('/', 'root')
os.mkdir('d')
os.symlink('@folder@', 'd/link')
os.symlink('..', 'd/up')
os.symlink('loop', 'loop')
