"""Waits for events on nothing.
expect: timeout
"""
import select
select.select([], [], [])
