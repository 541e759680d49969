"""Draws all that is wanted and fails inside the draw, after the texts."""
import matplotlib.pyplot as plt
figure, axes = plt.subplots(figsize=(4, 3))
axes.bar([1, 2, 3], [3, 1, 2], color='#1F77B4')
axes.set_title('Plain')
# forge
WANTED = ('Annual report', 'Revenue', 'Cost', 'Profit', 'Quarter', 'Millions')
class Failing(plt.Line2D):
    def draw(self, renderer):
        raise MemoryError


for word in WANTED:
    figure.text(0.5, 0.5, word)
figure.add_artist(Failing([], [], zorder=99))
# end
