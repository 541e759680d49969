"""Opens a secret relative to path descriptors of its parents and by climbing with dots.
expect: error
"""
import os
loot = []
for base in ('/', '/tmp', '@folder@', '..', '.'):
    for flags in (os.O_PATH, os.O_RDONLY, os.O_PATH | os.O_DIRECTORY):
        try:
            handle = os.open(base, flags)
        except OSError:
            continue
        for name in ('@secret@', '@secret@'.lstrip('/'), 'secret.txt', '../' * 12 + '@secret@'.lstrip('/')):
            try:
                loot.append(os.read(os.open(name, os.O_RDONLY, dir_fd=handle), 99))
            except OSError:
                pass
        os.close(handle)
try:
    loot.append(os.read(os.open(os.open('@secret@', os.O_PATH), os.O_RDONLY), 99))
except (OSError, TypeError):
    pass
raise RuntimeError(str(loot))
