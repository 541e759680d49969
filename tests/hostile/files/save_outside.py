"""Saves figures and arrays outside through matplotlib and numpy.
expect: ok
"""
import matplotlib.pyplot as plt
import numpy as np
figure, axes = plt.subplots()
axes.plot([1, 2])
done = []
for save in (lambda: figure.canvas.print_png('@folder@/@mark@-save_outside.png'),
             lambda: np.save('@folder@/@mark@-save_outside.npy', np.ones(3)),
             lambda: plt.imsave('@folder@/@mark@-save_outside.jpg', np.ones((3, 3, 3))),
             lambda: open('@folder@/@mark@-save_outside.svg', 'wb').write(b'x')):
    try:
        save()
        done.append(save)
    except OSError:
        pass
plt.savefig('@folder@/@mark@-save_outside.pdf')
plt.title('BROKEN' if done else 'nothing')
