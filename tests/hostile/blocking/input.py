"""Waits for a person.
expect: error
"""
input('name? ')
