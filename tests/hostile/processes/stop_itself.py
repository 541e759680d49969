"""Stops itself, so that no signal but one ends it.
expect: timeout|forbidden
"""
import os, signal
os.kill(os.getpid(), signal.SIGSTOP)
