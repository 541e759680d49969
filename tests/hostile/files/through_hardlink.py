"""Reads a secret through a hard link in the scratch directory.
expect: forbidden|error
"""
import os
os.link('@secret@', 'mine')
raise RuntimeError(open('mine').read())
