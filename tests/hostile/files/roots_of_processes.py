"""Goes around the walls through the root and working directories of other processes.
expect: error
"""
import os
loot = []
for process in ('1', 'self', str(os.getppid()), '@parent@', '@victim@'):
    for path in (f'/proc/{process}/root@secret@', f'/proc/{process}/cwd/run.txt', f'/proc/{process}/cwd@secret@'):
        try:
            loot.append(open(path).read())
        except OSError:
            pass
raise RuntimeError(str(loot))
