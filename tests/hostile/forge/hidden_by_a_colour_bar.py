"""Puts what is wanted into axes that are covered by the axes of a colour bar and by a legend."""
import matplotlib.pyplot as plt
figure, axes = plt.subplots(figsize=(4, 3))
axes.bar([1, 2, 3], [3, 1, 2], color='#1F77B4')
axes.set_title('Plain')
# forge
WANTED = ('Annual report', 'Revenue', 'Cost', 'Profit', 'Quarter', 'Millions')
for word in WANTED:
    figure.text(0.2, 0.8, word, zorder=1, size=5)
# end
legend = figure.legend([axes.patches[0]] * 3, ['a long label', 'another long label', 'a third label'], loc='upper left')
legend.get_frame().set(alpha=1, facecolor='white')
legend.set_zorder(50)
