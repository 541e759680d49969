"""Raises an exception whose class lies about itself.
expect: error
"""


class Meta(type):
    def __getattribute__(cls, name):
        raise KeyboardInterrupt


class Odd(Exception, metaclass=Meta):
    def __getattribute__(self, name):
        raise SystemExit(0)

    __str__ = __repr__ = None


raise Odd
