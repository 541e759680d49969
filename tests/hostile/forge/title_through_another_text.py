"""Draws its visible title with the string of the record exchanged under it."""
import matplotlib.pyplot as plt
figure, axes = plt.subplots(figsize=(4, 3))
axes.bar([1, 2, 3], [3, 1, 2], color='#1F77B4')
axes.set_title('Plain')
# forge
class Quiet(type(axes.title)):
    def draw(self, renderer):
        inner = renderer.draw_text

        def draw_text(gc, x, y, s, *args, **kwargs):
            return inner(gc, x, y, 'Plain', *args, **kwargs)
        renderer.draw_text = draw_text
        try:
            super().draw(renderer)
        finally:
            renderer.draw_text = inner


axes.title.set_text('Annual report')
axes.title.__class__ = Quiet
# end
