"""Changes its string between what is recorded and what is drawn."""
import matplotlib.pyplot as plt
figure, axes = plt.subplots(figsize=(4, 3))
axes.bar([1, 2, 3], [3, 1, 2], color='#1F77B4')
axes.set_title('Plain')
# forge
WANTED = ('Annual report', 'Revenue', 'Cost', 'Profit', 'Quarter', 'Millions')
class Changing(type(axes.title)):
    calls = 0

    def get_text(self):
        self.calls += 1
        return WANTED[self.calls % len(WANTED)] if self.calls % 2 else ''


for word in WANTED:
    text = Changing(0.5, 0.5, word)
    text.set_figure(figure)
    axes.add_artist(text)
# end
