"""Raises what only the interpreter raises.
expect: error
"""
import matplotlib.pyplot as plt
plt.plot([1])
for kind in (GeneratorExit, KeyboardInterrupt, StopIteration):
    try:
        raise kind
    except BaseException as error:
        last = error
raise last.with_traceback(None) from KeyboardInterrupt()
