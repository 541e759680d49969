"""Looks into the folder of the pool: scratch of other servers, their logs.
expect: error
"""
import os
found = []
for up in ('..', '../..', os.path.dirname(os.getcwd())):
    try:
        os.close(os.open(os.path.join(up, '@mark@-neighbours'), os.O_CREAT | os.O_WRONLY))
        found.append('file made')
    except OSError:
        pass
    try:
        for name in os.listdir(up):
            if name.startswith('job-') and os.path.realpath(os.path.join(up, name)) != os.getcwd():
                found.append(os.listdir(os.path.join(up, name)))
    except OSError:
        pass
raise RuntimeError(f'BROKEN {found}' if found else 'nothing')
