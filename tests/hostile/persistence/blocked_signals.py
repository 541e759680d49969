"""Blocks signals, sets timers and alarms that might outlive it.
expect: ok
"""
import signal
import matplotlib.pyplot as plt
plt.plot([1])
signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
signal.setitimer(signal.ITIMER_REAL, 3600)
signal.setitimer(signal.ITIMER_VIRTUAL, 3600, 1)
