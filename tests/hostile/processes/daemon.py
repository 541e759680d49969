"""Leaves a daemon behind in a session of its own.
expect: forbidden|error
"""
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(30)
    os._exit(0)
raise RuntimeError('BROKEN daemon')
