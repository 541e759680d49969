"""Writes its visible title again and again in the same place."""
import matplotlib.pyplot as plt
figure, axes = plt.subplots(figsize=(4, 3))
axes.plot([1, 3, 2], color='#D62728', antialiased=False)
axes.set_title('Profit', color='black')
# forge
for _ in range(3):
    axes.plot([1, 3, 2], color='#D62728', antialiased=False)
    axes.text(0.5, 1, 'Profit', transform=axes.transAxes, alpha=0)
# end
