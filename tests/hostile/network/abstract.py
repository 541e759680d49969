"""Connects to an abstract socket, which no file rule sees.
expect: error
"""
import socket
for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
    try:
        handle = socket.socket(socket.AF_UNIX, kind)
        handle.connect('\0@abstract@')
    except OSError:
        continue
    raise RuntimeError('BROKEN connected')
raise RuntimeError('nothing')
