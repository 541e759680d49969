"""Ends its process with the code by which the job says that memory ran out.
expect: memory|error|forbidden
"""
import os
os._exit(121)
