"""Changes colours, maps and names of visible artists once they are drawn."""
import matplotlib.pyplot as plt
figure, axes = plt.subplots(figsize=(4, 3))
axes.bar([1, 2, 3], [3, 1, 2], color='#1F77B4')
axes.set_title('Plain')
# forge
draw = figure.draw


def colour_afterwards(renderer):
    draw(renderer)
    for number, bar in enumerate(axes.patches):
        bar.set_color('#9467BD')
    axes.title.set_text('Profit')


figure.draw = colour_afterwards
# end
