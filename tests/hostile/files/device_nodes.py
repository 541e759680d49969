"""Makes and opens device nodes for the disk, memory and terminals.
expect: error
"""
import os, stat
opened = []
for name, device in (('disk', os.makedev(8, 0)), ('virtual', os.makedev(254, 0)), ('memory', os.makedev(1, 1)),
                     ('port', os.makedev(1, 4))):
    try:
        os.mknod(name, 0o600 | (stat.S_IFCHR if name in ('memory', 'port') else stat.S_IFBLK), device)
        os.open(name, os.O_RDONLY)
        opened.append(name)
    except OSError:
        pass
for path in ('/dev/mem', '/dev/sda', '/dev/vda', '/dev/kmsg', '/dev/tty', '/dev/ptmx', '/dev/fuse', '/dev/kvm',
             '/dev/nvidia0'):
    try:
        os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        opened.append(path)
    except OSError:
        pass
raise RuntimeError(f'BROKEN {opened}' if opened else 'nothing')
