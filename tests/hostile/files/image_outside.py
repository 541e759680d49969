"""Shows an image file from outside in the figure.
expect: forbidden|error
"""
import matplotlib.pyplot as plt
plt.imshow(plt.imread('@folder@/secret.png'))
plt.title('BROKEN image read')
