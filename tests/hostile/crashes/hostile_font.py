"""Loads fonts made of noise.
expect: error|killed|ok
"""
import matplotlib.pyplot as plt
from matplotlib.ft2font import FT2Font
for number in range(200):
    data = bytes((number * i * 7919) % 256 for i in range(300))
    with open('noise.ttf', 'wb') as file:
        file.write(b'\0\1\0\0\0\x0c\0\x80\0\3\0\x40' + data)
    try:
        FT2Font('noise.ttf')
    except (RuntimeError, OSError):
        pass
plt.title('kept')
