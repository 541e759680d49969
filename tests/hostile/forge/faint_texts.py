"""Writes in a grey that no eye tells from the background."""
import matplotlib.pyplot as plt
figure, axes = plt.subplots(figsize=(4, 3))
axes.bar([1, 2, 3], [3, 1, 2], color='#1F77B4')
axes.set_title('Plain')
# forge
WANTED = ('Annual report', 'Revenue', 'Cost', 'Profit', 'Quarter', 'Millions')
for number, word in enumerate(WANTED):
    figure.text(0.3, 0.3 + number / 12, word, color='#F3F3F3', zorder=-2, size=5)
    figure.text(0.02, 0.1 + number / 9, word, color='#F3F3F3', size=5, rotation=90)
# end
