"""Looks for keys and tokens in home directories.
expect: error
"""
import glob, os, re
loot = ''
homes = ['@home@', '/root', os.path.expanduser('~'), *glob.glob('/home/*')]
for home in homes:
    for name in ('.ssh/id_rsa', '.ssh/authorized_keys', '.bashrc', '.bash_history', '.netrc', '.aws/credentials',
                 '.cache/huggingface/token', '.gitconfig', '.config'):
        try:
            path = os.path.join(home, name)
            loot += f'BROKEN {os.listdir(path)}' if os.path.isdir(path) else open(path,
                                                                                  errors='replace').read() + ' read'
        except OSError:
            pass
raise RuntimeError(f'BROKEN {re.findall("planted-[a-z]+-[0-9a-f]+", loot)}' if loot else 'nothing')
