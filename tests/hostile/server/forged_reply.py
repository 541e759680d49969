"""Writes an ending of the server's form, and requests of the trusted side's, into every descriptor.
expect: forbidden|error|ok
"""
import os, socket, struct
reply = struct.pack('<i?dd', 0, False, 0.01, 0.01)
for number in range(3, 1024):
    for message in (reply, b'R', b'P\4\0\0\0pass', b'\4\0\0\0pass'):
        try:
            os.write(number, message)
            socket.socket(fileno=os.dup(number)).send(message)
        except OSError:
            pass
raise RuntimeError('sent')
