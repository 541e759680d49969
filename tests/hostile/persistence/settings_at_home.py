"""Leaves settings, styles, fonts and caches in the directories matplotlib asks for them.
expect: ok
"""
import os
import matplotlib
import matplotlib.pyplot as plt
plt.plot([1])
folders = [matplotlib.get_configdir(), matplotlib.get_cachedir(), os.path.expanduser('~/.config/matplotlib'),
           os.path.expanduser('~'), os.environ.get('MPLCONFIGDIR', '.')]
for folder in folders:
    for name in ('matplotlibrc', 'stylelib/classic.mplstyle', 'fontlist-v390.json', 'fontlist-v330.json',
                 '@mark@-home'):
        try:
            os.makedirs(os.path.dirname(os.path.join(folder, name)), exist_ok=True)
            with open(os.path.join(folder, name), 'w') as file:
                file.write('figure.facecolor: red\n')
        except OSError:
            pass
