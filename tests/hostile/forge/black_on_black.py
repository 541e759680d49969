"""Writes hundreds of labels on a black patch in black."""
import matplotlib.pyplot as plt
figure, axes = plt.subplots(figsize=(4, 3))
axes.bar([1, 2, 3], [3, 1, 2], color='#000000')
axes.set_title('Plain')
# forge
WANTED = ('Annual report', 'Revenue', 'Cost', 'Profit', 'Quarter', 'Millions')
for number in range(300):
    axes.text(0.8, 1 + number / 300, WANTED[number % 6], color='black', size=5)
# end
axes.set_xlim(0.6, 3.4), axes.set_ylim(0, 3.15)
