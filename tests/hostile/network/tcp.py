"""Connects to a service of the trainer's machine over TCP, IPv4 and IPv6, and says hello.
expect: error
"""
import socket
done = []
for host in ('127.0.0.1', '::1', 'localhost', '0.0.0.0'):
    try:
        with socket.create_connection((host, int('@tcp@')), 1) as connection:
            connection.sendall(b'hello')
            done.append(host)
    except OSError:
        pass
raise RuntimeError(f'BROKEN {done}' if done else 'nothing')
