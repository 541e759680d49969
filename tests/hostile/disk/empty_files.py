"""Makes files without content until there are no more inodes.
expect: error|output
"""
for number in range(8_000):
    open(str(number), 'wb').close()
raise RuntimeError('QUOTA 8,000 files')
