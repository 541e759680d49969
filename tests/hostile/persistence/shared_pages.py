"""Writes into memory it shares with the server: objects, fonts, code, file offsets.
expect: ok|error|killed|output|forbidden
"""
import ctypes, os
import matplotlib.pyplot as plt
plt.plot([1])
text = plt.rcParams['font.sans-serif'][0]
ctypes.memset(id(text) + 48, ord('x'), 4)
for number in range(3, 256):
    try:
        os.lseek(number, 17, os.SEEK_SET)
    except OSError:
        pass
