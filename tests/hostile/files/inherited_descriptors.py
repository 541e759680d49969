"""Counts what it has inherited; one pipe and three standard streams are all it needs.
expect: error
"""
import os, stat
other, pipes = [], 0
for number in range(3, 1024):
    try:
        kind = os.fstat(number).st_mode
    except OSError:
        continue
    pipes += stat.S_ISFIFO(kind)
    if not stat.S_ISFIFO(kind):
        other.append((number, oct(kind)))
raise RuntimeError(f'BROKEN {other} {pipes}' if other or pipes > 1 else 'nothing')
