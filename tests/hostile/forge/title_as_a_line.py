"""Passes its title, its legend and its tick labels off as series."""
import matplotlib.pyplot as plt
figure, axes = plt.subplots(figsize=(4, 3))
axes.bar([1, 2, 3], [3, 1, 2], color='#1F77B4', label='bars')
axes.set_title('Plain')
axes.legend()
axes.set_xlim(0.5, 3.5), axes.set_ylim(0, 3.2)
# forge
for artist in (axes.title, axes.get_legend(), axes.xaxis):
    result = axes.plot([], [])
    result[:] = [artist]
# end
