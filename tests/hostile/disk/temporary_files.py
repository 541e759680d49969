"""Leaves temporary files where the library puts them.
expect: ok
"""
import tempfile
import matplotlib.pyplot as plt
plt.plot([1])
for _ in range(50):
    tempfile.NamedTemporaryFile(prefix='@mark@-temporary', delete=False).write(b'x' * 1000)
    tempfile.mkdtemp(prefix='@mark@-temporary')
