"""Nests a list so deep that walking or freeing it overflows a stack.
expect: ok|error|killed|memory
"""
import json, matplotlib.pyplot as plt
plt.plot([1])
thing = []
for _ in range(500_000):
    thing = [thing]
try:
    json.dumps(thing)
except (RecursionError, ValueError):
    pass
plt.title([[[thing]]] and 'kept')
