"""Leaves settings that the next program might read from the working directory.
expect: ok
"""
import matplotlib.pyplot as plt
plt.plot([1])
for name in ('matplotlibrc', '.matplotlibrc', 'sitecustomize.py', 'usercustomize.py', 'numpy.py', 'random.py', 'x.pth',
             '.env'):
    with open(name, 'w') as file:
        file.write('figure.facecolor: red\n' if 'rc' in name else 'raise SystemExit("BROKEN")\n')
