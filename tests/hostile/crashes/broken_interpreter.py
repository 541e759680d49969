"""Empties modules and built-ins that the job still needs.
expect: error|killed|forbidden|ok|internal
"""
import builtins, gc, sys
import matplotlib.pyplot as plt
plt.plot([1])
gc.disable()
for name in ('len', 'isinstance', 'getattr', 'print', 'range', 'BaseException', 'Exception', 'tuple', 'list', 'open'):
    delattr(builtins, name)
for module in [value for name, value in [*sys.modules.items()] if name.startswith(('json', 'numpy', 'os', 'recoder'))]:
    module.__dict__.clear()
sys.modules.clear()
