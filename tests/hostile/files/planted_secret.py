"""Reads a secret file by its path.
expect: forbidden|error
"""
raise RuntimeError(open('@secret@').read())
