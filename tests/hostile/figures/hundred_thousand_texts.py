"""Writes a hundred thousand texts.
expect: timeout|memory|output|ok
"""
import matplotlib.pyplot as plt
for number in range(100_000):
    plt.text(number % 317 / 317, number / 100_000, 'x')
