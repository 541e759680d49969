"""Opens raw, packet, netlink, vsock and kernel crypto sockets.
expect: error
"""
import socket
opened = []
for family, kind in ((socket.AF_INET, socket.SOCK_RAW), (socket.AF_PACKET, socket.SOCK_RAW), (socket.AF_NETLINK,
                                                                                              socket.SOCK_RAW),
                     (socket.AF_VSOCK, socket.SOCK_STREAM), (socket.AF_ALG, socket.SOCK_SEQPACKET), (31, 3), (29, 3)):
    try:
        socket.socket(family, kind, 1 if kind == socket.SOCK_RAW else 0)
        opened.append(family)
    except OSError:
        pass
raise RuntimeError(f'BROKEN {opened}' if opened else 'nothing')
