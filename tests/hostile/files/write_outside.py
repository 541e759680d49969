"""Makes files outside: open, os.open, tempfile, mkdir, links.
expect: error
"""
import os, tempfile
made = []
for folder in ('@folder@', '@home@', '@cwd@', '/tmp', '/var/tmp', '/dev/shm', '/run', '/', '/usr', '/etc'):
    path = os.path.join(folder, '@mark@-write_outside')
    for make in (lambda: open(path, 'w').write('x'), lambda: os.mkdir(path + '-d'), lambda: os.symlink('x',
                                                                                                       path + '-l'),
                 lambda: os.open(path + '-o', os.O_CREAT | os.O_WRONLY), lambda: os.mkfifo(path + '-p'),
                 lambda: os.open(folder, os.O_TMPFILE | os.O_RDWR), lambda: os.mknod(path + '-n')):
        try:
            make()
            made.append(folder)
        except OSError:
            pass
if made:
    raise RuntimeError(f'BROKEN {set(made)}')
raise RuntimeError('nothing')
