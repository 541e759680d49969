"""Tells the layout another cell than the one its axes are drawn in."""
import matplotlib.pyplot as plt
figure, axes = plt.subplots(figsize=(4, 3))
axes.bar([1, 2, 3], [3, 1, 2], color='#1F77B4')
axes.set_title('Plain')
# forge
from matplotlib.gridspec import GridSpec
place = axes.get_position()
axes.set_subplotspec(GridSpec(2, 2, figure=figure)[0, 0])
axes.set_position(place)
# end
