"""Draws the frame of its axes in four pieces by four axes of a grid."""
import matplotlib.pyplot as plt
figure, axes = plt.subplots(figsize=(4, 3))
axes.bar([1, 2, 3], [3, 1, 2], color='#1F77B4')
axes.set_title('Plain')
# forge
axes.spines[:].set_visible(False)
for number, (across, up) in enumerate((((0, 0, 0.5), (0.5, 1, 1)), ((0.5, 1, 1), (1, 1, 0.5)), ((0, 0, 0.5), (0.5, 0,
                                                                                                              0)),
                                       ((0.5, 1, 1), (0, 0, 0.5)))):
    one = figure.add_subplot(2, 2, number + 1)
    place = one.get_subplotspec()
    one.set_position(axes.get_position())
    one.set_axis_off()
    one.add_artist(plt.Line2D(across, up, color='black', linewidth=0.8, transform=one.transAxes, clip_on=False))
# end
