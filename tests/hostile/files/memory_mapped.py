"""Maps a secret into memory, by numpy, mmap and a path descriptor.
expect: error
"""
import mmap, os
import numpy as np
loot = []
for read in (lambda: bytes(np.memmap('@secret@', np.uint8, 'r')), lambda: bytes(np.fromfile('@secret@', np.uint8)),
             lambda: mmap.mmap(os.open('@secret@', os.O_PATH), 0, prot=mmap.PROT_READ)[:],
             lambda: mmap.mmap(os.open('@secret@', os.O_RDONLY), 0, prot=mmap.PROT_READ)[:]):
    try:
        loot.append(read())
    except (OSError, ValueError):
        pass
raise RuntimeError(str(loot))
