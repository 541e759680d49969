"""Makes the figure one that cannot be replayed, and lies in the fallback."""
import matplotlib.pyplot as plt
figure, axes = plt.subplots(figsize=(4, 3))
axes.bar([1, 2, 3], [3, 1, 2], color='#1F77B4')
axes.set_title('Plain')
# forge
WANTED = ('Annual report', 'Revenue', 'Cost', 'Profit', 'Quarter', 'Millions')
axes.patches[0].set_agg_filter(lambda image, dpi: (image, 0, 0))
for word in WANTED:
    figure.text(0.75, 0.95, word, color='white')
# end
