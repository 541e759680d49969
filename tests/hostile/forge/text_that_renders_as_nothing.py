"""Writes texts whose letters are empty: a font without them, spaces between, control characters."""
import matplotlib.pyplot as plt
figure, axes = plt.subplots(figsize=(4, 3))
axes.bar([1, 2, 3], [3, 1, 2], color='#1F77B4')
axes.set_title('Plain')
# forge
WANTED = ('Annual report', 'Revenue', 'Cost', 'Profit', 'Quarter', 'Millions')
for word in WANTED:
    figure.text(0.75, 0.95, f'$\\phantom{{{word}}}$')
    figure.text(0.75, 0.95, word, fontsize=1e-9)
    figure.text(0.75, 0.95, word, family='sans-serif', stretch=0, linespacing=0, color='none')
# end
