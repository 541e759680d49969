"""Saves one figure and puts its artists into another after the save."""
import matplotlib.pyplot as plt
figure, axes = plt.subplots(figsize=(4, 3))
axes.bar([1, 2, 3], [3, 1, 2], color='#1F77B4')
axes.set_title('Plain')
# forge
figure.savefig('x.png')
other, (left, right) = plt.subplots(1, 2)
left.set_title('Annual report')
figure.axes.extend([left, right])
figure._axstack.add(right)
right.set_visible(False)
# end
