"""Multiplies a string until it does not fit.
expect: memory
"""
text = 'x' * 1000
while True:
    text = text * 100
