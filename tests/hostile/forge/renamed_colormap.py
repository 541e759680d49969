"""Draws grey and calls its colormap by the wanted name."""
import matplotlib.pyplot as plt
import numpy as np
figure, axes = plt.subplots(figsize=(4, 3))
image = axes.imshow(np.arange(100).reshape(10, 10), cmap='gray')
axes.set_title('Plain')
# forge
image.cmap.name = 'viridis'
image.get_cmap().name = 'viridis'
# end
