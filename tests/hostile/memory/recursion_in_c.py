"""Recurses through C functions until the stack of the process overflows.
expect: killed|memory|error|timeout
"""
import functools, sys
sys.setrecursionlimit(1 << 30)
thing = str
for _ in range(500_000):
    thing = functools.partial(thing)
    thing = functools.partial(lambda inner: repr(inner), thing)
repr(thing)
thing()
