"""Lists directories outside.
expect: error
"""
import os, re
names = []
for top in ('@folder@', '@home@', '@cwd@', os.path.dirname('@folder@'), '/tmp', '/home', '/var/log', '/root'):
    for _, folders, files in os.walk(top):
        names += folders + files
        if len(names) > 10_000:
            break
raise RuntimeError(str(re.findall('planted-[a-z]+-[0-9a-f]+', ' '.join(names))))
