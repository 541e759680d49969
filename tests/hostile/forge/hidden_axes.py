"""Adds a grid of axes that are hidden, off or transparent."""
import matplotlib.pyplot as plt
figure, axes = plt.subplots(figsize=(4, 3))
axes.bar([1, 2, 3], [3, 1, 2], color='#1F77B4')
axes.set_title('Plain')
# forge
for number in range(1, 5):
    one = figure.add_subplot(2, 2, number)
    one.set_visible(number % 2 == 0)
    one.set_axis_off()
    one.patch.set_alpha(0)
# end
