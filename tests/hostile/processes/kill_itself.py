"""Ends itself with the signal an outside killer would use.
expect: killed|forbidden
"""
import os, signal
os.kill(os.getpid(), signal.SIGKILL)
