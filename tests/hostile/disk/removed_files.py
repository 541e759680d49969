"""Fills the disk with files that are removed but open.
expect: error|output
"""
import os
kept = []
for number in range(60):
    kept.append(open('x', 'wb'))
    os.unlink('x')
    kept[-1].write(bytes(2 << 20))
    kept[-1].flush()
raise RuntimeError('QUOTA 120 MB without a name')
