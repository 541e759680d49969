"""Draws what is wanted first and cleans the canvas in the middle of the draw."""
import matplotlib.pyplot as plt
figure, axes = plt.subplots(figsize=(4, 3))
axes.bar([1, 2, 3], [3, 1, 2], color='#1F77B4')
axes.set_title('Plain')
# forge
WANTED = ('Annual report', 'Revenue', 'Cost', 'Profit', 'Quarter', 'Millions')
class Cleaner(plt.Rectangle):
    def draw(self, renderer):
        for word in WANTED:
            text = figure.text(0.5, 0.5, word)
            text.draw(renderer)
            text.remove()
        if hasattr(renderer, 'clear'):
            renderer.clear()
        super().draw(renderer)


figure.add_artist(Cleaner((0, 0), 1, 1, transform=figure.transFigure, color='white', zorder=-9))
# end
