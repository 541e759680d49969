"""Writes what is clipped away."""
import matplotlib.pyplot as plt
figure, axes = plt.subplots(figsize=(4, 3))
axes.bar([1, 2, 3], [3, 1, 2], color='#1F77B4')
axes.set_title('Plain')
# forge
WANTED = ('Annual report', 'Revenue', 'Cost', 'Profit', 'Quarter', 'Millions')
from matplotlib.transforms import Bbox
for word in WANTED:
    axes.text(2, 2, word).set(clip_on=True, clip_box=Bbox([[0, 0], [0.1, 0.1]]))
    axes.text(9, 2, word, clip_on=True)
# end
