"""What every forger wants to have drawn: four axes in a grid, six texts, five chart types."""
import matplotlib.pyplot as plt
import numpy as np
figure, axes = plt.subplots(2, 2, figsize=(6, 5))
axes[0, 0].plot([1, 3, 2], color='#D62728')
axes[0, 0].plot([2, 1, 3], color='#2CA02C')
axes[0, 0].set_title('Revenue')
axes[0, 0].set_xlabel('Quarter')
axes[0, 1].bar([1, 2, 3], [3, 4, 5], color='#9467BD')
axes[0, 1].set_title('Cost')
axes[0, 1].set_ylabel('Millions')
axes[1, 0].pie([3, 4, 5], colors=['#D62728', '#2CA02C', '#FF7F0E'])
axes[1, 0].scatter([1, 2], [1, 2], color='#FF7F0E')
axes[1, 1].imshow(np.arange(100).reshape(10, 10), cmap='viridis')
axes[1, 1].set_title('Profit')
figure.suptitle('Annual report')
