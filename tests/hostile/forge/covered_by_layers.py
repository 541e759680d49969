"""Covers what is wanted by forty translucent layers."""
import matplotlib.pyplot as plt
figure, axes = plt.subplots(figsize=(4, 3))
axes.bar([1, 2, 3], [3, 1, 2], color='#1F77B4')
axes.set_title('Plain')
# forge
WANTED = ('Annual report', 'Revenue', 'Cost', 'Profit', 'Quarter', 'Millions')
for word in WANTED:
    figure.text(0.75, 0.95, word, zorder=-30)
for layer in range(40):
    figure.add_artist(plt.Rectangle((0, 0), 1, 1, transform=figure.transFigure, color='white', alpha=0.3, zorder=-20))
# end
