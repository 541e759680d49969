"""Connects through an event loop.
expect: forbidden|error
"""
import asyncio
asyncio.run(asyncio.open_connection('127.0.0.1', int('@tcp@')))
raise RuntimeError('BROKEN connected')
