"""Starts processes that outlive it.
expect: forbidden|error
"""
import os, time
for _ in range(20):
    if os.fork() == 0:
        time.sleep(30)
        os._exit(0)
raise RuntimeError('BROKEN forked')
