"""Maps memory until there are no more maps.
expect: error|memory
"""
import mmap
kept = []
while True:
    kept.append(mmap.mmap(-1, 1 << 16))
