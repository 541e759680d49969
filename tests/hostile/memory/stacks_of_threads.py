"""Starts many threads with large stacks.
expect: error|memory
"""
import threading, time
threading.stack_size(128 << 20)
for _ in range(1000):
    threading.Thread(target=time.sleep, args=(30,), daemon=True).start()
