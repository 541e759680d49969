"""Exits with objects instead of codes.
expect: error
"""
import sys
sys.exit({'a': [1, 2, '']})
