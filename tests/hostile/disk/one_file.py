"""Writes one file until it may not.
expect: error
"""
with open('large', 'wb') as file:
    for _ in range(300):
        file.write(bytes(1 << 20))
raise RuntimeError('BROKEN 300 MB in one file')
