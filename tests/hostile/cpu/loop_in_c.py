"""Loops inside one C call, which no Python signal handler ends.
expect: timeout
"""
import itertools
sum(itertools.repeat(1))
