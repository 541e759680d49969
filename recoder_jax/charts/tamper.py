"""A sign of tampering: functions of matplotlib and of the recorder that a program replaced.

Looked at inside the process of the program, so a program can hide from it. It is a hint for logs; scores rest on the
replay.
"""

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.cm import ScalarMappable
from matplotlib.collections import Collection
from matplotlib.colors import Colormap
from matplotlib.figure import Figure, FigureBase
from matplotlib.gridspec import GridSpec, GridSpecBase, SubplotSpec
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.path import Path
from matplotlib.text import Text

from recoder_jax.charts import claims, draw_list, marks, picture
from recoder_jax.charts.recorder import Recorder

# What a draw and the extraction of elements go through. Functions that nearly every program calls: to look at another
# one copies a page of the fork server's memory, and there are thousands.
_METHODS = (
    (Artist, ('get_alpha', 'get_visible')),
    (Axes, ('draw',)),
    (Axes.__mro__[1], ('draw', 'get_position', 'get_subplotspec')),
    (Colormap, ('__call__',)),
    (Collection, ('draw', 'get_edgecolor', 'get_facecolor')),
    (Figure, ('draw',)),
    (FigureBase, ('get_axes',)),
    (GridSpec, ()),
    (GridSpecBase, ('get_geometry',)),
    (SubplotSpec, ('colspan', 'get_gridspec', 'rowspan')),
    (AxesImage, ('get_window_extent',)),
    (AxesImage.__mro__[1], ('draw',)),
    (ScalarMappable, ('to_rgba',)),
    (Line2D, ('draw', 'get_color', 'get_linestyle', 'get_markerfacecolor')),
    (Patch, ('draw', 'get_edgecolor', 'get_facecolor', 'get_fill')),
    (Path, ('vertices',)),
    (Text, ('_get_layout', 'draw', 'get_text')),
    (RendererAgg, ('draw_path', 'draw_text', 'get_text_width_height_descent')),
    (Recorder, ('_wrap_method', 'in_tick')),
)
_WHOLE = (claims, marks, picture, draw_list, draw_list.RecordingRenderer, draw_list._Writer)


class Fingerprint:
    """Functions as they are when it is made: in the fork server, when its hooks are installed."""

    def __init__(self):
        owners = [*_METHODS, *((owner, tuple(name for name, value in vars(owner).items() if callable(value)))
                               for owner in _WHOLE)]
        self._sizes = [(owner, len(vars(owner)), frozenset(vars(owner))) for owner, _ in owners]
        self._functions = [(owner, name, *_function(owner, name)) for owner, names in owners for name in names
                           if name in vars(owner)]

    def change(self) -> str:
        """A sentence on the first function that is another one by now, '' when none is."""
        for owner, name, function, code in self._functions:
            if _function(owner, name) != (function, code):
                return f'{owner.__name__}.{name} was replaced'
        for owner, size, names in self._sizes:
            if len(vars(owner)) != size:
                for name in vars(owner).keys() - names:
                    if any(name in vars(base) for base in getattr(owner, '__mro__', ())[1:]):
                        return f'{owner.__name__}.{name} was overridden'
        return ''


def _function(owner: object, name: str) -> tuple[object, object]:
    """A function or property of a class or module, None where it is gone, and its code."""
    value = vars(owner).get(name)
    return value, getattr(getattr(value, '__func__', getattr(value, 'fget', value)), '__code__', None)
