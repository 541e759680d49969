"""Patches matplotlib, numpy and Python for whoever comes next.
expect: ok|error
"""
import builtins, os, random, sys
import matplotlib
import matplotlib.pyplot as plt
import numpy as np
plt.plot([1])
matplotlib.rcParams['figure.facecolor'] = matplotlib.rcParamsDefault['figure.facecolor'] = 'red'
matplotlib.axes.Axes.set_title = lambda *_, **__: None
np.random.seed(1), random.seed(1)
np.random.default_rng = lambda *_: None
builtins.sum = lambda *_: 7
os.environ['LANG'] = os.environ['MPLBACKEND'] = 'broken'
os.umask(0)
sys.path.insert(0, '/tmp')
sys.setrecursionlimit(100)
