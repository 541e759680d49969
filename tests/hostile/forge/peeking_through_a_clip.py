"""Writes what is clipped to two pixels."""
import matplotlib.pyplot as plt
figure, axes = plt.subplots(figsize=(4, 3))
axes.bar([1, 2, 3], [3, 1, 2], color='#1F77B4')
axes.set_title('Plain')
# forge
WANTED = ('Annual report', 'Revenue', 'Cost', 'Profit', 'Quarter', 'Millions')
from matplotlib.transforms import Bbox
for number, word in enumerate(WANTED):
    figure.text(0.8, 0.9, word, clip_box=Bbox([[345, 270], [347, 272]]), clip_on=True)
# end
