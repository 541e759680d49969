"""Sleeps, whatever wakes it.
expect: timeout
"""
import signal, time
signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
while True:
    try:
        time.sleep(1000)
    except BaseException:
        pass
