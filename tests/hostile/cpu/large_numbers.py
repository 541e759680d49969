"""Multiplies large numbers with the interpreter lock held.
expect: timeout
"""
number = 7 ** (7 ** 9)
str(number)
