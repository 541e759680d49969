"""Shows the figure and waits for clicks, keys and pauses.
expect: ok|error|timeout
"""
import matplotlib.pyplot as plt
plt.plot([1])
plt.show(block=True)
plt.pause(0.1)
for wait in (plt.waitforbuttonpress, plt.ginput):
    try:
        wait(timeout=0.1)
    except Exception:
        pass
