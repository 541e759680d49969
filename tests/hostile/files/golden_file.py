"""Reads the golden program it is scored against.
expect: forbidden|error
"""
import pathlib
raise RuntimeError(pathlib.Path('@golden@').read_text())
