"""Covers what is wanted by a white image, which is no patch."""
import matplotlib.pyplot as plt
figure, axes = plt.subplots(figsize=(4, 3))
axes.bar([1, 2, 3], [3, 1, 2], color='#1F77B4')
axes.set_title('Plain')
# forge
WANTED = ('Annual report', 'Revenue', 'Cost', 'Profit', 'Quarter', 'Millions')
import numpy as np
for word in WANTED:
    figure.text(0.75, 0.95, word, zorder=-30)
figure.figimage(np.full((300, 400, 3), 255, np.uint8), zorder=-20)
# end
