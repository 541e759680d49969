"""Nests a formula until the parser breaks.
expect: error|memory|timeout|killed|ok
"""
import matplotlib.pyplot as plt
plt.title('$' + r'\frac{1}{' * 400 + 'x' + '}' * 400 + '$')
