"""Reads the arguments of the server, which might name a golden program.
expect: error
"""
import re, sys
raise RuntimeError(str(re.findall('planted-[a-z]+-[0-9a-f]+|golden', f'{sys.argv} {sys.orig_argv}')))
