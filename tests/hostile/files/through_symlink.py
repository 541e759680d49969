"""Reads a secret through links to the file, its folder and the root.
expect: error
"""
import os
loot = []
for link, target, path in (('a', '@secret@', 'a'), ('b', '@folder@', 'b/secret.txt'), ('c', '/', 'c@secret@')):
    try:
        os.symlink(target, link)
        loot.append(open(path).read())
    except OSError:
        pass
raise RuntimeError(str(loot))
