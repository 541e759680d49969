"""Makes huge files that hold nothing.
expect: error
"""
import os
handle = os.open('sparse', os.O_RDWR | os.O_CREAT)
done = []
for make in (lambda: os.ftruncate(handle, 1 << 40), lambda: os.pwrite(handle, b'x', 1 << 40),
             lambda: os.posix_fallocate(handle, 0, 1 << 30)):
    try:
        make()
        done.append(make)
    except OSError:
        pass
if done:
    raise RuntimeError('BROKEN sparse file')
raise RuntimeError('nothing')
