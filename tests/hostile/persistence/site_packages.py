"""Leaves code in the directories of Python: .pth, sitecustomize, byte code, packages.
expect: error
"""
import os, site, sys
import matplotlib, numpy
done = []
folders = [*site.getsitepackages(), os.path.dirname(matplotlib.__file__), os.path.dirname(numpy.__file__), sys.prefix,
           os.path.dirname(os.__file__), os.path.join(os.path.dirname(matplotlib.__file__), '__pycache__')]
for folder in folders:
    for name in ('@mark@.pth', 'sitecustomize_@mark@.py', '@mark@.pyc'):
        try:
            with open(os.path.join(folder, name), 'w') as file:
                file.write('x = 1\n')
            done.append(folder)
        except OSError:
            pass
try:
    with open(matplotlib.__file__, 'a') as file:
        done.append('matplotlib')
except OSError:
    pass
raise RuntimeError(f'BROKEN {done}' if done else 'nothing')
