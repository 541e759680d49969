"""Names files with line ends, bytes that are no text, dashes and dots.
expect: ok
"""
import matplotlib.pyplot as plt
plt.plot([1])
for name in (b'-rf', b'a\nb', b'\xff\xfe', b'...', b' ', b'\x7f\x1b[2J', '\u202e'.encode(), b'*', b'$(id)', b'\\'):
    open(name, 'w').close()
