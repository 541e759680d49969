"""Matches an expression that takes exponential time.
expect: timeout
"""
import re
re.match('(a|a)*$', 'a' * 64 + 'b')
