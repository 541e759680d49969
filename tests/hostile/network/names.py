"""Sends data in a name look-up.
expect: error|forbidden
"""
import socket
for look_up in (lambda: socket.getaddrinfo('secret.example.org', 80),
                lambda: socket.gethostbyname('secret.example.org')):
    try:
        look_up()
    except OSError:
        continue
    raise RuntimeError('BROKEN looked up')
raise RuntimeError('nothing')
