"""Raises an exception with a chain of 100,000 causes.
expect: error|memory|killed
"""
error = ValueError('first')
for number in range(100_000):
    cause, error = error, ValueError(str(number))
    error.__cause__ = cause
raise error
