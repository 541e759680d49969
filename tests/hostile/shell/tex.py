"""Lets TeX read a file and run a command.
expect: error|forbidden
"""
import matplotlib.pyplot as plt
plt.rcParams['text.usetex'] = True
plt.rcParams['text.latex.preamble'] = r'\usepackage{verbatim}\immediate\write18{touch @folder@/@mark@-tex}'
plt.title(r'\input{@secret@}')
