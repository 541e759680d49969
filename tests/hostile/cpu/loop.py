"""Loops.
expect: timeout
"""
while True:
    pass
