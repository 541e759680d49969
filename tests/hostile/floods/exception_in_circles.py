"""Raises an exception that is its own cause, in a group, with a text that raises.
expect: error
"""


class Odd(ExceptionGroup):
    def __str__(self):
        raise self


one = Odd('\ud800\0', [ValueError('\ud800')])
two = ValueError(one)
one.__cause__, two.__cause__ = two, one
raise one
