"""Gives its axes another class with another name and projection."""
import matplotlib.pyplot as plt
figure, axes = plt.subplots(figsize=(4, 3))
axes.bar([1, 2, 3], [3, 1, 2], color='#1F77B4')
axes.set_title('Plain')
# forge
class PolarAxes(type(axes)):
    name = 'polar'

    def get_subplotspec(self):
        from matplotlib.gridspec import GridSpec
        return GridSpec(2, 2)[0, 0]


axes.__class__ = PolarAxes
# end
