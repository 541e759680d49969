"""Reads from a pipe that nobody writes to.
expect: timeout
"""
import os
os.read(os.pipe()[0], 1)
