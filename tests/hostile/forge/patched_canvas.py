"""Patches the canvas so that the pixels are of another figure."""
import matplotlib.pyplot as plt
figure, axes = plt.subplots(figsize=(4, 3))
axes.bar([1, 2, 3], [3, 1, 2], color='#1F77B4')
axes.set_title('Plain')
# forge
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
other = plt.figure(figsize=(4, 3))
other.text(0.5, 0.5, 'Annual report')
pixels = np.full((300, 400, 4), 255, np.uint8)
FigureCanvasAgg.buffer_rgba = lambda self: memoryview(pixels)
plt.figure(figure.number)
# end
