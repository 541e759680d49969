"""Lets the kernel copy a secret into the scratch directory: sendfile, copy_file_range, splice, tee.
expect: error
"""
import ctypes, os
loot = []
mine = os.open('mine', os.O_RDWR | os.O_CREAT)
for flags in (os.O_RDONLY, os.O_PATH):
    try:
        secret = os.open('@secret@', flags)
    except OSError:
        continue
    for copy in (lambda: os.sendfile(mine, secret, 0, 99), lambda: os.copy_file_range(secret, mine, 99),
                 lambda: os.splice(secret, os.pipe()[1], 99), lambda: ctypes.CDLL(None).syscall(40, mine, secret, 0,
                                                                                                99)):
        try:
            copy()
        except (OSError, AttributeError):
            pass
    loot.append(os.pread(mine, 99, 0))
raise RuntimeError(str(loot))
