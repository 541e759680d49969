"""Figures that a fork server draws before it forks: what matplotlib builds on first use is then built in every process.

Among that: the parser of mathematical text (0.1 s), open fonts, the tables of colormaps, imports inside functions,
the solver of constrained layout, and bytecode specialised by having run.
"""

from collections.abc import Callable, Iterator
from datetime import date

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure


def warm_figures() -> Iterator[Figure]:
    """One figure after the other; each is closed when the next one is asked for."""
    for draw in _SCENES:
        yield draw()
        plt.close('all')


def _lines() -> Figure:
    figure, (left, right) = plt.subplots(1, 2)
    x = np.linspace(1, 10, 20)
    left.plot(x, np.sin(x), 'o-', label='line')
    left.plot(x, np.cos(x), '--', label=r'$\alpha_1^2 + \frac{a}{b}$')
    left.fill_between(x, x, alpha=0.3)
    left.errorbar(x[:3], x[:3], yerr=0.1, capsize=3)
    left.set_title(r'$\sqrt{x} \leq \sum_{i=0}^{n} \mathrm{d}x$', fontweight='bold')
    left.set_xlabel('x', style='italic')
    left.annotate('peak', (2, 1), (4, 2), arrowprops={'arrowstyle': '->'}, bbox={'boxstyle': 'round'})
    left.grid(True)
    left.legend(loc='best', title='title')
    right.loglog(x, x)
    right.axhline(1)
    right.axvspan(1, 2)
    right.text(1, 1, 'turned', rotation=45)
    figure.suptitle('figure')
    figure.tight_layout()
    return figure


def _bars() -> Figure:
    figure, axes = plt.subplots(2, 2, layout='constrained')
    names = ['a', 'b', 'c']
    container = axes[0, 0].bar(names, [1, 2, 3], hatch='//', edgecolor='black')
    axes[0, 0].bar_label(container)
    axes[0, 0].tick_params(axis='x', rotation=30)
    axes[0, 1].pie([1, 2, 3], labels=names, autopct='%1.1f%%', shadow=True, explode=[0, 0.1, 0])
    axes[1, 0].hist(np.arange(30.0) % 7, bins=5)
    axes[1, 0].twinx().step([0, 1], [1, 0])
    axes[1, 1].stackplot([0, 1], [1, 2], [2, 1])
    axes[1, 1].stem([0, 1], [1, 2])
    return figure


def _distributions() -> Figure:
    figure, axes = plt.subplots(2, 2)
    data = [np.arange(9.0), np.arange(5.0)]
    axes[0, 0].boxplot(data, patch_artist=True)
    axes[0, 1].violinplot(data)
    scattered = axes[1, 0].scatter([1, 2], [1, 2], c=[1, 2], s=[10, 20], cmap='viridis')
    figure.colorbar(scattered, ax=axes[1, 0])
    axes[1, 1].plot([date(2024, 1, 1), date(2024, 3, 1)], [1, 2])
    axes[1, 1].minorticks_on()
    figure.autofmt_xdate()
    return figure


def _fields() -> Figure:
    figure, axes = plt.subplots(2, 2)
    z = np.add.outer(np.arange(5.0), np.arange(5.0))
    axes[0, 0].imshow(z, cmap='Blues')
    axes[0, 1].clabel(axes[0, 1].contour(z))
    axes[0, 1].contourf(z, cmap='coolwarm')
    axes[1, 0].pcolormesh(z)
    axes[1, 0].quiver([1, 2], [1, 2], [1, 0], [0, 1])
    axes[1, 1].tricontourf([0, 1, 0, 1], [0, 0, 1, 1], [1, 2, 3, 4])
    return figure


def _projections() -> Figure:
    figure = plt.figure(figsize=(6, 3))
    solid = figure.add_subplot(121, projection='3d')
    x, y = np.meshgrid(np.arange(4.0), np.arange(4.0))
    solid.plot_surface(x, y, x * y, cmap='plasma')
    solid.scatter([1], [1], [1])
    polar = figure.add_subplot(122, projection='polar')
    polar.plot([0, 1, 2], [1, 2, 1])
    polar.bar([1], [2], alpha=0.5)
    return figure


_SCENES: tuple[Callable[[], Figure], ...] = (_lines, _bars, _distributions, _fields, _projections)
