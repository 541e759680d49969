"""Kills the fork server.
expect: forbidden|error
"""
import os, signal
os.kill(os.getppid(), signal.SIGKILL)
raise RuntimeError('BROKEN server killed')
