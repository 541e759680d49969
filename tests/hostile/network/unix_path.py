"""Connects to a socket in the file system.
expect: error
"""
import socket
for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):
    try:
        socket.socket(socket.AF_UNIX, kind).connect('@unix@')
    except OSError:
        continue
    raise RuntimeError('BROKEN connected')
raise RuntimeError('nothing')
