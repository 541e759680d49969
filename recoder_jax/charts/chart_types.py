"""Names of chart types: what a careful reader calls that which a plotting method, or an artist added by hand, shows.

A line in logarithmic axes is a line. Cells of a grid that are coloured through a colormap are a heatmap, whichever
function drew them; cells that have a colour each are an image, `imshow`.
"""

import matplotlib.cm
import matplotlib.collections
import matplotlib.contour
import matplotlib.image
import matplotlib.legend
import matplotlib.lines
import matplotlib.offsetbox
import matplotlib.patches
import matplotlib.quiver
import matplotlib.table
import matplotlib.text
import matplotlib.tri

# Method of an axes class -> chart type.
PLOTTING = {name: name for name in (
    'acorr', 'angle_spectrum', 'arrow', 'axhline', 'axhspan', 'axline', 'axvline', 'axvspan', 'bar', 'bar3d', 'barbs',
    'barh', 'boxplot', 'broken_barh', 'cohere', 'contour', 'contourf', 'csd', 'ecdf', 'errorbar', 'eventplot', 'fill',
    'fill_between', 'fill_betweenx', 'grouped_bar', 'hexbin', 'hist', 'hist2d', 'hlines', 'imshow',
    'magnitude_spectrum', 'phase_spectrum', 'pie', 'plot', 'plot_surface', 'plot_trisurf', 'plot_wireframe', 'psd',
    'quiver', 'scatter', 'specgram', 'stackplot', 'stairs', 'stem', 'step', 'streamplot', 'table', 'tricontour',
    'tricontourf', 'tripcolor', 'triplot', 'violinplot', 'vlines', 'voxels', 'xcorr')}
PLOTTING |= {
    'loglog': 'plot', 'semilogx': 'plot', 'semilogy': 'plot', 'semilogz': 'plot', 'plot_date': 'plot', 'plot3D': 'plot',
    'scatter3D': 'scatter', 'contour3D': 'contour', 'contourf3D': 'contourf', 'quiver3D': 'quiver', 'stem3D': 'stem',
    'add_contour_set': 'contour', 'add_contourf_set': 'contourf', 'matshow': 'imshow', 'spy': 'imshow',
    'pcolor': 'imshow', 'pcolormesh': 'imshow', 'pcolorfast': 'imshow', 'bxp': 'boxplot', 'violin': 'violinplot'}
# Methods that add one artist: the chart type follows from the artist.
ADDING = ('add_artist', 'add_collection', 'add_collection3d', 'add_image', 'add_line', 'add_patch', 'add_table')
# Methods that may call those above for something that is no plot.
ANNOTATING = ('indicate_inset', 'indicate_inset_zoom', 'quiverkey', 'clabel')
# Artist -> chart type, the first that fits; other artists go by the name of their class.
_TYPE_OF_ARTIST = (
    (matplotlib.lines.Line2D, 'plot'),
    (matplotlib.image._ImageBase, 'imshow'),
    (matplotlib.collections.QuadMesh, 'imshow'),
    (matplotlib.quiver.Quiver, 'quiver'),
    (matplotlib.quiver.Barbs, 'barbs'),
    (matplotlib.collections.PathCollection, 'scatter'),
    (matplotlib.collections.EventCollection, 'eventplot'),
    (matplotlib.patches.StepPatch, 'stairs'),
    (matplotlib.patches.FancyArrow, 'arrow'),
    (matplotlib.table.Table, 'table'),
)
_NO_PLOT = (matplotlib.text.Text, matplotlib.legend.Legend, matplotlib.offsetbox.OffsetBox,
            matplotlib.offsetbox.AnnotationBbox, matplotlib.quiver.QuiverKey)


def type_of_call(name: str, added: object) -> str:
    """Chart type of a plotting call by its name in PLOTTING and the artists it gave."""
    if name != 'imshow':
        return name
    if isinstance(added, matplotlib.lines.Line2D):
        return 'plot'                    # spy with markers
    array = added.get_array() if isinstance(added, matplotlib.cm.ScalarMappable) else None
    return 'imshow' if array is not None and array.ndim == 3 else 'heatmap'


def type_of_artist(added: object) -> str | None:
    """Chart type of an artist, or of the last one of a list, that was added to axes; None for what is no plot."""
    if isinstance(added, list):
        added = added[-1] if added else None
    if added is None or isinstance(added, _NO_PLOT) or type(added).__module__.startswith('mpl_toolkits.axes_grid1'):
        return None
    if isinstance(added, matplotlib.contour.ContourSet):
        kind = 'tricontour' if isinstance(added, matplotlib.tri.TriContourSet) else 'contour'
        return kind + 'f' * added.filled
    for kind, name in _TYPE_OF_ARTIST:
        if isinstance(added, kind):
            return type_of_call(name, added)
    return type(added).__name__
