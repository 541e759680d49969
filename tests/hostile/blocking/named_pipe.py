"""Opens a named pipe that nobody reads, and file locks held by itself.
expect: error|forbidden|timeout
"""
import fcntl, os
one, two = open('lock', 'w'), open('lock', 'w')
fcntl.flock(one, fcntl.LOCK_EX)
os.mkfifo('pipe')
open('pipe', 'w')
fcntl.flock(two, fcntl.LOCK_EX)
