"""Swaps a directory and a link as fast as it can until it is ended.
expect: timeout
"""
import os
os.mkdir('a')
open('a/secret.txt', 'w').close()
os.symlink('@folder@', 'b')
while True:
    os.rename('a', 'c'), os.rename('b', 'a'), os.rename('c', 'b')
