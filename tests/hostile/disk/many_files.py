"""Writes many files until there is no room.
expect: error|output
"""
for number in range(200):
    with open(str(number), 'wb') as file:
        file.write(bytes(1 << 20))
raise RuntimeError('QUOTA 200 MB in many files')
