"""Draws a text where a line of the same colour goes through, letter by letter, so thin that only the line shows."""
import matplotlib.pyplot as plt
figure, axes = plt.subplots(figsize=(4, 3))
axes.bar([1, 2, 3], [3, 1, 2], color='#1F77B4')
axes.set_title('Plain')
# forge
WANTED = ('Annual report', 'Revenue', 'Cost', 'Profit', 'Quarter', 'Millions')
for word in WANTED:
    axes.text(2, 2.5, word, size=3, color='#FF0000', va='center')
# end
axes.axhline(2.5, color='#FF0000', linewidth=9)
