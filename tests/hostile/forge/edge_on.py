"""Writes on a plane that is looked at from the side."""
import matplotlib.pyplot as plt
figure, axes = plt.subplots(figsize=(4, 3))
axes.bar([1, 2, 3], [3, 1, 2], color='#1F77B4')
axes.set_title('Plain')
# forge
WANTED = ('Annual report', 'Revenue', 'Cost', 'Profit', 'Quarter', 'Millions')
from matplotlib.text import TextPath
from matplotlib.patches import PathPatch
from matplotlib.transforms import Affine2D
for word in WANTED:
    figure.add_artist(PathPatch(TextPath((0, 0), word), transform=Affine2D().scale(1e-9, 1)))
flat = figure.add_axes((0.5, 0.5, 1e-9, 0.4), projection='3d')
flat.set_axis_off()
for word in WANTED:
    flat.text(0, 0, 0, word, alpha=0)
# end
