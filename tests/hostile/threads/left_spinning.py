"""Leaves threads that spin when the program has ended.
expect: ok|timeout|error
"""
import threading, time
import matplotlib.pyplot as plt
plt.plot([1])


def spin():
    while True:
        time.sleep(0.001)


for _ in range(5):
    threading.Thread(target=spin).start()
