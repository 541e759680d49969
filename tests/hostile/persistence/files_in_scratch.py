"""Leaves files, hidden ones too, with content of every kind.
expect: ok
"""
import os
import matplotlib.pyplot as plt
plt.plot([1])
for number in range(100):
    os.makedirs(f'.hidden/{number}/{number}')
    with open(f'{number}.txt', 'w') as file:
        file.write('x' * 1000)
os.symlink('1.txt', '.hidden/again')
