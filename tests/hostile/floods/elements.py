"""Claims more texts, axes, colours and chart types than any chart has.
expect: ok|output|timeout
"""
import matplotlib.pyplot as plt
plt.axis('off')
for number in range(3_000):
    plt.text(number % 50 / 50, number / 3_000, str(number), size=4)
for number in range(600):
    plt.bar([number], [1], color=(number / 600, 0.2, 0.3))
