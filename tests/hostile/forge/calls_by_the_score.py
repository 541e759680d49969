"""Makes the calls of many types with one visible artist as the result of each."""
import matplotlib.pyplot as plt
figure, axes = plt.subplots(figsize=(4, 3))
axes.bar([1, 2, 3], [3, 1, 2], color='#1F77B4')
axes.set_title('Plain')
# forge
import matplotlib.axes
bars = axes.containers[0]
for name in ('plot', 'pie', 'imshow', 'scatter'):
    hidden = getattr(type(axes), name)
    inner = getattr(hidden, '__wrapped__', hidden)
    values = {'plot': [[1, 2], [1, 2]], 'pie': [[1]], 'imshow': [[[1, 2]]], 'scatter': [[1], [2]]}[name]
    axes.get_xlim(), axes.set_autoscale_on(False)
    result = hidden(axes, *values)
    for one in axes.get_children():
        if one not in bars and one in (*axes.lines, *axes.collections, *axes.images, *axes.patches[3:]):
            one.remove()
    if isinstance(result, list):
        result[:] = list(bars)
axes.set_aspect('auto'), axes.set_axis_on()
# end
axes.set_xlim(0.46, 3.54), axes.set_ylim(0, 3.15)
axes.set_xticks([1, 2, 3]), axes.set_yticks([0, 1, 2, 3])
axes.set_frame_on(True)
