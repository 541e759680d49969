"""Stops the server so that nobody keeps time.
expect: forbidden|error
"""
import os, signal
os.kill(os.getppid(), signal.SIGSTOP)
raise RuntimeError('BROKEN stopped')
