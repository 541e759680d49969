"""Draws texts onto a renderer that nobody looks at."""
import matplotlib.pyplot as plt
figure, axes = plt.subplots(figsize=(4, 3))
axes.bar([1, 2, 3], [3, 1, 2], color='#1F77B4')
axes.set_title('Plain')
# forge
WANTED = ('Annual report', 'Revenue', 'Cost', 'Profit', 'Quarter', 'Millions')
from matplotlib.backends.backend_agg import RendererAgg


class Elsewhere(type(axes.title)):
    def draw(self, renderer):
        super().draw(RendererAgg(400, 300, 100))


for word in WANTED:
    text = Elsewhere(0.5, 0.5, word)
    text.set_figure(figure)
    axes.add_artist(text)
# end
