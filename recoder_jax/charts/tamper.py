"""A sign of tampering: functions of matplotlib and of the recorder that a program replaced.

Looked at inside the process of the program, so a program can hide from it. It is a hint for logs; scores rest on the
replay.
"""

import matplotlib.artist
import matplotlib.axes
import matplotlib.axis
import matplotlib.backend_bases
import matplotlib.backends.backend_agg
import matplotlib.collections
import matplotlib.colors
import matplotlib.figure
import matplotlib.font_manager
import matplotlib.gridspec
import matplotlib.image
import matplotlib.lines
import matplotlib.patches
import matplotlib.path
import matplotlib.text

from recoder_jax.charts import claims, draw_list, elements, picture, recorder

_CLASSES = (
    matplotlib.artist.Artist, matplotlib.axes.Axes, matplotlib.axes.Axes.__mro__[1], matplotlib.axis.Axis,
    matplotlib.axis.Tick, matplotlib.backend_bases.GraphicsContextBase, matplotlib.backend_bases.RendererBase,
    matplotlib.backends.backend_agg.FigureCanvasAgg, matplotlib.backends.backend_agg.RendererAgg,
    matplotlib.collections.Collection, matplotlib.colors.Colormap, matplotlib.figure.Figure, matplotlib.figure.FigureBase,
    matplotlib.font_manager.FontProperties, matplotlib.gridspec.GridSpecBase, matplotlib.gridspec.GridSpec,
    matplotlib.gridspec.SubplotSpec, matplotlib.image.AxesImage, matplotlib.lines.Line2D,
    matplotlib.patches.Patch, matplotlib.path.Path, matplotlib.text.Text, draw_list.RecordingRenderer,
    draw_list._Writer, elements.Elements, recorder.Recorder)
_MODULES = (claims, draw_list, picture)


class Fingerprint:
    """Functions as they are when it is made."""

    def __init__(self):
        self._before = _functions()

    def change(self) -> str:
        """A sentence on the first function that is another one by now, '' when none is."""
        now = _functions()
        for place, (function, code) in self._before.items():
            if place not in now or now[place][0] is not function or now[place][1] is not code:
                return f'{place[0].__name__}.{place[1]} was replaced'
        for owner, name in now.keys() - self._before.keys():
            if any(name in vars(base) for base in getattr(owner, '__mro__', ())[1:]):
                return f'{owner.__name__}.{name} was overridden'
        return ''


def _functions() -> dict[tuple[object, str], tuple[object, object]]:
    """(class or module, name) -> the function or property, and its code."""
    found = {}
    for owner in (*_CLASSES, *_MODULES):
        for name, value in vars(owner).items():
            if callable(value) or isinstance(value, property | classmethod | staticmethod):
                code = getattr(getattr(value, '__func__', getattr(value, 'fget', value)), '__code__', None)
                found[owner, name] = value, code
    return found
