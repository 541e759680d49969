"""Writes letters of one point, which show as specks and cannot be read."""
import matplotlib.pyplot as plt
figure, axes = plt.subplots(figsize=(4, 3))
axes.bar([1, 2, 3], [3, 1, 2], color='#1F77B4')
axes.set_title('Plain')
# forge
WANTED = ('Annual report', 'Revenue', 'Cost', 'Profit', 'Quarter', 'Millions')
for number, word in enumerate(WANTED):
    figure.text(0.9, 0.95 - number / 100, word, size=1)
# end
