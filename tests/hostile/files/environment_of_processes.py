"""Reads the environment and command line of every process.
expect: error
"""
import os, re
loot = b''
for process in ['self', 'thread-self', '1', '@parent@', '@victim@', str(os.getppid()), *map(str, range(2, 3000))]:
    for name in ('environ', 'cmdline', 'auxv'):
        try:
            loot += open(f'/proc/{process}/{name}', 'rb').read()
        except OSError:
            pass
raise RuntimeError(str(re.findall(rb'planted-[a-z]+-[0-9a-f]+', loot)))
