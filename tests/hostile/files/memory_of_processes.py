"""Reads memory and maps of the parent, the trainer and another process.
expect: error
"""
import os, re
loot = []
for process in (str(os.getppid()), '@parent@', '@victim@', '1'):
    for name in ('maps', 'mem', 'syscall', 'stack', 'smaps', 'pagemap', 'map_files', 'fd', 'task', 'ns/net'):
        try:
            os.close(os.open(f'/proc/{process}/{name}', os.O_RDONLY))
            loot.append(name)
        except OSError:
            pass
secret = [name for name in loot if name in ('maps', 'mem', 'syscall', 'stack', 'smaps', 'pagemap', 'map_files', 'fd')]
raise RuntimeError(f'BROKEN {secret}' if secret else 'nothing')
