"""Handles every signal, the one of the CPU limit included, and loops on.
expect: timeout
"""
import signal
for number in range(1, 65):
    try:
        signal.signal(number, lambda *_: None)
    except (OSError, ValueError):
        pass
while True:
    try:
        while True:
            pass
    except BaseException:
        pass
