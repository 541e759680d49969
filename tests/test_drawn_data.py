"""Data values come from marks that were drawn, on axes that say the same; nothing else counts as data."""

import json
from collections import defaultdict

import numpy as np
import pytest

from recoder_jax.charts.claim_form import Claims
from recoder_jax.charts.elements import MAX_SERIES, MAX_VALUES, Elements
from recoder_jax.charts.marks import Frame, series_of, sorted_series
from recoder_jax.charts.operations import Malformed
from recoder_jax.charts.sandbox import Sandbox

HEAD = 'import matplotlib.pyplot as plt\nimport numpy as np\n'
# Program -> series, without their chart type, in any order.
SERIES = {
    'plt.plot([1, 3, 2])': [('y', (1, 3, 2))],
    'plt.plot([2, 4, 8], [1, 3, 2], "o--")': [('x', (2, 4, 8)), ('y', (1, 3, 2))],
    'plt.bar(["a", "b"], [3, -4])': [('y', (3, -4))],
    'plt.barh(["a", "b"], [3, 4], left=[1, 2])': [('x', (3, 4))],
    'for n, v in enumerate([1, 3, 5]): plt.bar(n, v)': [('y', (1, 3, 5))],
    'plt.bar([0, 1], [1, 2]); plt.bar([0, 1], [3, 4], bottom=[1, 2])': [('y', (1, 2)), ('y', (3, 4))],
    'plt.hist([1, 1, 2, 3], bins=3)': [('y', (2, 1, 1))],
    'plt.hist([1, 1, 2, 3], bins=3, orientation="horizontal")': [('x', (2, 1, 1))],
    'plt.scatter([1, 2, 5], [4, 3, 9], s=40)': [('x', (1, 2, 5)), ('y', (4, 3, 9))],
    'plt.fill_between([0, 1, 2], [4, 3, 9])': [('y', (4, 3, 9))],
    'plt.pie([1, 1, 2])': [('share', (0.25, 0.25, 0.5))],
    'plt.boxplot([[1, 2, 3, 4, 5]])': [('y', (3,)), ('y', (2, 1, 4, 5))],
    'plt.errorbar([0, 1, 2], [4, 3, 9], yerr=0.5)': [('y', (4, 3, 9))],
    'plt.loglog([1, 10, 100], [5, 50, 500])': [('x', (1, 10, 100)), ('y', (5, 50, 500))],
    'plt.plot([1e6, 3e6, 2e6])': [('y', (1e6, 3e6, 2e6))],                       # ticks are 1, 2, 3 and 1e6
    'plt.bar([0, 1], [2, 3]); plt.twinx().plot([10, 40])': [('y', (2, 3)), ('y', (10, 40))],
    'x = np.linspace(0, 6, 400); plt.plot(x, np.sin(x))': None,
}
# Program -> why none of its values count.
NOTHING = {
    'plt.imshow([[1, 2], [3, 4]])': 'values shown by colour',
    'plt.polar([1, 2], [3, 4])': 'polar axes',
    'plt.plot([3, 5, 4]); plt.gca().yaxis.set_major_formatter(lambda v, n: f"{10 * v:g}"); plt.gca().set_ylim(0, 9)': 'ticks that say something else',
    'plt.bar([0, 1], [3, 4], alpha=0)': 'no ink',
    'line, = plt.plot([3, 5, 4]); line.get_xydata = lambda: np.array([[0, 9.], [1, 9.], [2, 9.]])': 'values that were not drawn',
    'plt.plot([3, 5, 4]); plt.gca().get_ylim = lambda: (0, 100)': 'a frame that was not drawn',
}


@pytest.fixture(scope='module')
def execute(sandbox):
    programs = [*SERIES, *NOTHING]
    return dict(zip(programs, sandbox.execute_all([HEAD + program for program in programs]), strict=True)).__getitem__


@pytest.mark.parametrize('program', [program for program, series in SERIES.items() if series])
def test_values_are_those_of_the_marks(program, execute):
    execution = execute(program)
    assert execution.replayed, execution.log
    assert sorted((axis, values) for _, axis, values in execution.elements.data) == sorted(SERIES[program])


@pytest.mark.parametrize('program', NOTHING)
def test_what_the_picture_does_not_say_is_no_data(program, execute):
    execution = execute(program)
    assert execution.ok and not [row for row in execution.elements.data if row[1] != 'x'], NOTHING[program]


def test_long_series_are_thinned_evenly_and_keep_their_ends(execute):
    (_, x), (_, y) = [(axis, values) for _, axis, values in execute('x = np.linspace(0, 6, 400); plt.plot(x, np.sin(x))').elements.data]
    assert len(x) == len(y) == MAX_VALUES and (x[0], x[-1]) == (0, 6) and np.allclose(y, np.sin(x), atol=1e-6)


def test_without_replay_the_claimed_values_are_taken(execute):
    with Sandbox(workers=1, replay='off') as sandbox:
        for program in ('plt.bar(["a", "b"], [3, -4])', 'plt.pie([1, 1, 2])', 'plt.boxplot([[1, 2, 3, 4, 5]])'):
            assert sandbox.execute(HEAD + program).elements.data == execute(program).elements.data


def test_data_survive_the_way_to_disk(execute):
    elements = execute('plt.scatter([1, 2, 5], [4, 3, 9], s=40)').elements
    assert Elements.from_json(json.loads(json.dumps(elements.to_json()))) == elements


GOOD = ['plot', 'y', [1.0]]


@pytest.mark.parametrize('rows', [
    [['plot', 'y', []]], [['plot', 'y', [float('nan')]]], [['plot', 'y', [True]]], [['plot', 'y', ['1']]], [['plot', 'z', [1.0]]], [['plot', 'y']],
    [['plot', 'y', [1.0] * (MAX_VALUES + 1)]], [GOOD] * (MAX_SERIES + 1), 'data', [['x' * 81, 'y', [1.0]]], [['plot', 'y', [10 ** 400]]], None])
def test_data_over_a_cap_or_of_another_form_are_refused(rows):
    empty = Elements((), (), (), ()).to_json()
    assert Elements.from_json(empty | {'data': [GOOD]}).data == (('plot', 'y', (1.0,)),)
    with pytest.raises(ValueError, match='elements'):
        Elements.from_json(empty | {'data': rows})


CLAIMS = {'axes': [[-1, 0, None]], 'calls': [['plot', 0, []]], 'marks': [[0, 'points', [1, 2, 3, 4]]],
          'frames': [[0, 'linear', 0, 1, 0, 100, 'log', 1, 10, 0, 100]]}


@pytest.mark.parametrize('change', [
    {'marks': [[1, 'points', [1, 2]]]}, {'marks': [[0, 'points', [1]]]}, {'marks': [[0, 'circles', [1, 2]]]}, {'marks': [[0, 'points', 'ab']]},
    {'marks': [[0, 'points', [1, float('inf')]]]}, {'marks': [[0, 'y', [1, 2]]] * (MAX_SERIES + 1)}, {'marks': [[-1, 'points', [1, 2]]]},
    {'frames': [[0, 'linear', 0, 1]]}, {'frames': [[0, 'linear', 0, 1, 0, 100, 'logit', 1, 10, 0, 100]]}, {'marks': 3}, {'frames': [[[], 1]]},
    {'marks': [[0, 'points', [1, 2] * (MAX_VALUES + 1)]]}, {'frames': [[0, 'linear', 0, 1, 0, float('nan'), 'log', 1, 10, 0, 100]]}])
def test_claims_of_another_form_are_malformed(change):
    assert Claims.from_json(CLAIMS).marks[0].numbers == (1, 2, 3, 4)
    with pytest.raises(Malformed):
        Claims.from_json(CLAIMS | change)


def test_a_frame_places_values_on_its_scales():
    frame = Frame(('linear', 0, 10, 50, 150), ('log', 1, 100, 0, 200))
    assert np.allclose(frame.place(np.array([[5, 10], [20, 1]])), [[100, 100], [250, 0]])
    assert not np.isfinite(frame.place(np.array([[1.0, 0.0], [1.0, -2.0]]))[:, 1]).any()


def test_single_marks_after_another_are_one_series():
    row = np.array([[0, 0, 1, 5.0]])
    one = series_of('bar', 'bars_y', row)
    assert sorted_series([*one, *series_of('bar', 'bars_y', row + 1), ('plot', 'y', (1.0,))]) == (('bar', 'y', (5.0, 5.0)), ('plot', 'y', (1.0,)))
    assert series_of('pie', 'wedges', np.array([[0, 0, 1, 0, 1, 0.0]])) == [('pie', 'share', (1.0,))]
    assert sorted_series([('plot', 'y', (float('inf'),))]) == () and series_of('plot', 'points', np.empty((0, 2))) == []


def test_equal_programs_give_equal_data_whatever_the_order_of_calls(sandbox):
    one, two = sandbox.execute_all([HEAD + 'plt.plot([1, 2]); plt.bar([0, 1], [4, 5])', HEAD + 'plt.bar([0, 1], [4, 5]); plt.plot([1, 2])'])
    by_type = defaultdict(list)
    for name, _, values in one.elements.data:
        by_type[name].append(values)
    assert one.elements.data == two.elements.data and by_type == {'plot': [(1, 2)], 'bar': [(4, 5)]}
