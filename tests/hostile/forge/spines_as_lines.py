"""Passes the frame of the axes off as lines that it plotted."""
import matplotlib.pyplot as plt
figure, axes = plt.subplots(figsize=(4, 3))
axes.bar([1, 2, 3], [3, 1, 2], color='#1F77B4')
axes.set_title('Plain')
axes.set_xlim(0.5, 3.5), axes.set_ylim(0, 3.2)
# forge
for side in ('left', 'right'):
    result = axes.plot([], [])
    result[:] = [axes.spines[side]]
# end
