"""Raises an exception with 450 MB of text.
expect: error|memory|timeout
"""
raise ValueError('x' * 450_000_000)
