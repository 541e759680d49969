"""Recurses without a limit.
expect: killed|memory|error|timeout
"""
import sys
sys.setrecursionlimit(1 << 30)


def deeper(n):
    return [deeper(n + 1)]


deeper(0)
