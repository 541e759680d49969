"""Waits for a lock it holds, in every thread.
expect: timeout
"""
import threading
lock = threading.Lock()
lock.acquire()
threading.Thread(target=lock.acquire).start()
lock.acquire()
