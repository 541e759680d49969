"""Sends a datagram to a service of the trainer's machine.
expect: forbidden|error
"""
import socket
handle = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
handle.sendto(b'hello', ('127.0.0.1', int('@udp@')))
raise RuntimeError('sent')
