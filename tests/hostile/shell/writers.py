"""Saves an animation and PGF through external commands.
expect: ok|error|forbidden
"""
import matplotlib.animation as animation
import matplotlib.pyplot as plt
plt.rcParams['animation.ffmpeg_path'] = '/bin/sh'
plt.rcParams['animation.convert_path'] = '/bin/sh'
figure, axes = plt.subplots()
moving = animation.FuncAnimation(figure, lambda i: axes.plot([i]), frames=2)
for save in (lambda: moving.save('x.mp4', writer='ffmpeg'), lambda: moving.save('x.gif', writer='imagemagick'),
             lambda: figure.canvas.print_figure('x.pgf'), lambda: figure.canvas.print_figure('@folder@/@mark@.ps')):
    try:
        save()
    except Exception:
        pass
