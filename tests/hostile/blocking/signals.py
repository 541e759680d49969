"""Waits for a signal.
expect: timeout
"""
import signal
signal.pause()
