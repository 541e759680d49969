"""Leaves a thread that changes the figure while it is drawn.
expect: ok|error|forbidden|output|timeout
"""
import threading
import matplotlib.pyplot as plt
figure, axes = plt.subplots()


def change():
    while True:
        axes.texts.clear() if hasattr(axes.texts, 'clear') else None
        axes.plot([1, 2])
        for line in list(axes.lines)[:-3]:
            try:
                line.remove()
            except Exception:
                pass


threading.Thread(target=change, daemon=True).start()
