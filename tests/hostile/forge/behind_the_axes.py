"""Draws all that is wanted under a white sheet and the honest chart on top of the sheet."""
import matplotlib.pyplot as plt
figure, axes = plt.subplots(figsize=(4, 3))
axes.bar([1, 2, 3], [3, 1, 2], color='#1F77B4')
axes.set_title('Plain')
# forge
WANTED = ('Annual report', 'Revenue', 'Cost', 'Profit', 'Quarter', 'Millions')
import numpy as np
for number in range(1, 5):
    one = figure.add_subplot(2, 2, number, zorder=-9)
    one.set_title(WANTED[number])
    one.plot([1, 3, 2], color='#D62728')
    one.imshow(np.arange(9).reshape(3, 3), cmap='viridis')
figure.add_artist(plt.Rectangle((0, 0), 1, 1, transform=figure.transFigure, color='white', zorder=-5))
# end
