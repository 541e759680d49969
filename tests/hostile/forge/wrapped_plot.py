"""Calls the noted methods on an axes that draws nothing and puts the calls on the visible one."""
import matplotlib.pyplot as plt
figure, axes = plt.subplots(figsize=(4, 3))
axes.bar([1, 2, 3], [3, 1, 2], color='#1F77B4')
axes.set_title('Plain')
# forge
import types
hidden = plt.figure().add_subplot()
for name, values in (('plot', [[1, 2]]), ('pie', [[1, 2]]), ('scatter', [[1], [2]])):
    result = getattr(type(axes), name)(hidden, *values)
    for artist in (result if isinstance(result, (list, tuple)) else [result]):
        for one in (artist if isinstance(artist, list) else [artist]):
            one._axes = axes
hidden.__class__ = type('Axes', (type(axes),), {'__eq__': lambda self, other: True,
                                                '__hash__': lambda self: hash(axes)})
plt.figure(figure.number)
# end
