"""Leaves hooks for the end of the process.
expect: ok
"""
import atexit, os, threading, time
import matplotlib.pyplot as plt
plt.plot([1])
atexit.register(time.sleep, 60)
atexit.register(os._exit, 7)
threading._register_atexit(time.sleep, 60)
