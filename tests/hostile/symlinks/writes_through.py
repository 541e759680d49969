"""Writes and removes through links to outside.
expect: error
"""
import os, shutil
os.symlink('@folder@', 'link')
done = []
for change in (lambda: open('link/@mark@-writes_through', 'w'), lambda: open('link/secret.txt', 'a').write('x'),
               lambda: os.unlink('link/secret.txt'), lambda: shutil.rmtree('link/'), lambda: os.rmdir('link/empty'),
               lambda: os.mkdir('link/@mark@-d'), lambda: os.rename('link/secret.txt', 'link/moved')):
    try:
        change()
        done.append(change)
    except OSError:
        pass
if done:
    raise RuntimeError(f'BROKEN {len(done)}')
raise RuntimeError('nothing')
