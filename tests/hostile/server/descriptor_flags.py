"""Changes flags of the result pipe that others might share: blocking, size, owner, lease.
expect: ok|error|forbidden
"""
import fcntl, os
import matplotlib.pyplot as plt
plt.plot([1])
for number in range(0, 256):
    for request, value in ((fcntl.F_SETFL, os.O_NONBLOCK | os.O_APPEND | os.O_ASYNC), (1031, 4096), (fcntl.F_SETOWN,
                                                                                                     os.getppid()),
                           (10, 9), (1024, 1), (1033, 15), (fcntl.F_SETLK, b'\0' * 32)):
        try:
            fcntl.fcntl(number, request, value)
        except (OSError, ValueError):
            pass
