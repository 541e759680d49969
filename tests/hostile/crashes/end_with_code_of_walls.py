"""Ends its process with the code by which the job says that a wall fell.
expect: internal|error|forbidden
"""
import os
os._exit(122)
