"""Overwrites, appends to, truncates, removes and renames a file outside.
expect: error
"""
import ctypes, os
c = ctypes.CDLL(None)
done = []
open('mine', 'w').write('x')
for change in (lambda: open('@secret@', 'w').write('x'), lambda: open('@secret@', 'a').write('x'),
               lambda: os.truncate('@secret@', 0), lambda: os.unlink('@secret@'), lambda: os.rename('@secret@',
                                                                                                    'taken'),
               lambda: os.replace('mine', '@secret@'), lambda: os.rename('mine', '@folder@/@mark@-change_outside'),
               lambda: os.rmdir('@folder@/empty'), lambda: os.rename('@folder@/empty', 'empty')):
    try:
        change()
        done.append(change)
    except OSError:
        pass
if c.syscall(316, -100, b'@secret@', -100, os.path.abspath('mine').encode(), 2) == 0:
    done.append('exchanged')
if done:
    raise RuntimeError(f'BROKEN {len(done)} changes')
raise RuntimeError('nothing')
