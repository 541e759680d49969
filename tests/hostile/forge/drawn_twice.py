"""Draws the figure many times over onto the renderer, with other texts in each pass but the last."""
import matplotlib.pyplot as plt
figure, axes = plt.subplots(figsize=(4, 3))
axes.bar([1, 2, 3], [3, 1, 2], color='#1F77B4')
axes.set_title('Plain')
# forge
WANTED = ('Annual report', 'Revenue', 'Cost', 'Profit', 'Quarter', 'Millions')
draw = figure.draw


def many(renderer):
    for word in WANTED:
        axes.title.set_text(word)
        draw(renderer)
    axes.title.set_text('Plain')
    draw(renderer)


figure.draw = many
# end
