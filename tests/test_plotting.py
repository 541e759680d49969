"""No public method of matplotlib that plots is unknown to the recorder."""

import inspect

import matplotlib.artist
import matplotlib.axes
import matplotlib.figure
import matplotlib.projections.polar
import matplotlib.pyplot
import mpl_toolkits.mplot3d

from recoder_jax.charts.chart_types import ADDING, ANNOTATING, PLOTTING

# Public methods of axes and figures and functions of pyplot that draw nothing of their own, by reason.
NOT_PLOTTING = {
    'texts, which are recorded as drawn': {
        'text', 'text2D', 'text3D', 'annotate', 'bar_label', 'pie_label', 'legend', 'suptitle', 'supxlabel',
        'supylabel', 'title', 'xlabel', 'ylabel', 'figtext', 'figlegend'},
    'limits, scales and views': {
        'autoscale', 'autoscale_view', 'auto_scale_xyz', 'axis', 'margins', 'relim', 'update_datalim', 'view_init',
        'shareview', 'sharex', 'sharey', 'sharez', 'invert_xaxis', 'invert_yaxis', 'invert_zaxis', 'xaxis_inverted',
        'yaxis_inverted', 'zaxis_inverted', 'xlim', 'ylim', 'xscale', 'yscale', 'clim', 'apply_aspect',
        'reset_position', 'box'},
    'ticks and grids': {
        'grid', 'locator_params', 'minorticks_off', 'minorticks_on', 'tick_params', 'ticklabel_format', 'xaxis_date',
        'yaxis_date', 'zaxis_date', 'xticks', 'yticks', 'rgrids', 'thetagrids', 'label_outer', 'autofmt_xdate',
        'align_labels', 'align_titles', 'align_xlabels', 'align_ylabels'},
    'axes, which the layout holds, and their colour bars': {
        'inset_axes', 'secondary_xaxis', 'secondary_yaxis', 'twinx', 'twiny', 'add_child_axes', 'add_axes',
        'add_subplot', 'add_gridspec', 'add_subfigure', 'subfigures', 'subplots', 'subplot_mosaic', 'subplots_adjust',
        'tight_layout', 'axes', 'subplot', 'subplot2grid', 'figure', 'new_figure_manager', 'polar', 'delaxes', 'sca',
        'gca', 'colorbar', 'add_axobserver', 'subplot_tool'},
    'containers of what is recorded': {'add_container'},
    'drawing, clearing and saving': {
        'cla', 'clear', 'clf', 'close', 'draw', 'draw_artist', 'redraw_in_frame', 'draw_without_rendering',
        'draw_if_interactive', 'savefig', 'imsave', 'show', 'pause'},
    'events and windows': {
        'can_pan', 'can_zoom', 'drag_pan', 'start_pan', 'end_pan', 'in_axes', 'contains_point',
        'disable_mouse_rotation', 'mouse_init', 'ginput', 'waitforbuttonpress', 'connect', 'disconnect', 'ion',
        'ioff', 'isinteractive', 'install_repl_displayhook', 'uninstall_repl_displayhook', 'switch_backend'},
    'questions and values': {
        'has_data', 'format_coord', 'format_xdata', 'format_ydata', 'format_zdata', 'convert_zunits', 'unit_cube',
        'tunit_cube', 'tunit_edges', 'fignum_exists', 'findobj', 'gcf', 'gci', 'get', 'getp', 'get_cmap',
        'get_current_fig_manager', 'get_figlabels', 'get_fignums', 'get_plot_commands', 'imread'},
    'settings': {
        'rc', 'rc_context', 'rcdefaults', 'set_cmap', 'set_loglevel', 'setp', 'sci', 'xkcd', 'autumn', 'bone', 'cool',
        'copper', 'flag', 'gray', 'hot', 'hsv', 'inferno', 'jet', 'magma', 'nipy_spectral', 'pink', 'plasma', 'prism',
        'spring', 'summer', 'viridis', 'winter'},
    'classes': {
        'ArtistList', 'InvertedPolarTransform', 'PolarAffine', 'PolarTransform', 'RadialLocator', 'ThetaFormatter',
        'ThetaLocator'},
    'images of a figure, which has no axes for them': {'figimage'},
}


def test_every_public_method_that_plots_is_recorded():
    kinds = (matplotlib.axes.Axes, matplotlib.projections.polar.PolarAxes, mpl_toolkits.mplot3d.Axes3D,
             matplotlib.figure.Figure, matplotlib.figure.SubFigure)
    names = {name for kind in kinds for name in dir(kind) if callable(getattr(kind, name, None))}
    names -= set(dir(matplotlib.artist.Artist))
    names |= {name for name, value in vars(matplotlib.pyplot).items()
              if inspect.isfunction(value) and value.__module__ == 'matplotlib.pyplot'}
    public = {name for name in names if not name.startswith(('_', 'get_', 'set_'))}
    known = set(PLOTTING) | set(ADDING) | set(ANNOTATING) | set().union(*NOT_PLOTTING.values())
    assert public <= known, f'neither recorded nor known as not plotting: {sorted(public - known)}'


def test_no_method_is_both_recorded_and_known_as_not_plotting():
    groups = [set(PLOTTING), set(ADDING), set(ANNOTATING), *NOT_PLOTTING.values()]
    assert sum(map(len, groups)) == len(set().union(*groups))
