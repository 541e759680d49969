"""Programs that say the same have one canonical form; junk never raises; what cannot be read is unknown, not wrong."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from recoder_jax.charts.canonical import MAX_ITEMS, UNKNOWN, canonical, has_flat_data, is_flat

PLOT = 'import matplotlib.pyplot as plt\n'
ALIKE = [
    'import matplotlib.pyplot as plt\nfig, ax = plt.subplots()\nax.bar([0, 1], [20, 30], 0.5)',
    'from matplotlib import pyplot\npyplot.bar(x=[0, 1], height=[20, 30], width=0.5)',
    'import matplotlib.pyplot as p, numpy as n\nheights = n.array([2, 3]) * 10\np.bar(n.arange(2), heights, width=1 / 2)',
    'import matplotlib.pyplot as plt\nimport numpy\nax = plt.gca()\ndraw = ax.bar\nd = {"a": 20, "b": 30}\ndraw(range(2), list(d.values()), 0.5)',
    'import matplotlib.pyplot as plt\n_, (left, right) = plt.subplots(1, 2)\nn, values = 0, [[20], [30]]\nleft.bar([n, n + 1], values[0] + values[-1], -(-0.5))',
]


def plain(value):
    return np.asarray(value).tolist() if isinstance(value, np.ndarray | list) else value


@pytest.mark.parametrize('program', ALIKE)
def test_programs_that_say_the_same_have_one_form(program):
    (call,) = canonical(program).calls
    assert call.function == 'bar' and {name: plain(value) for name, value in call.arguments.items()} == {'x': [0, 1], 'height': [20, 30], 'width': 0.5}
    assert [plain(value) for value in call.data] == [[0, 1], [20, 30]]


@pytest.mark.parametrize(('line', 'function', 'data'), [
    ('plt.semilogy([1, 2], "r--")', 'plot', [[1, 2]]), ('plt.plot([1], [2], "b", [3], [4])', 'plot', [[1], [2], [3], [4]]),
    ('plt.barh(["a"], [2], height=9)', 'barh', [['a'], [2]]), ('plt.matshow([[1, 2]])', 'imshow', [[[1, 2]]]), ('plt.pie(x=[1, 2])', 'pie', [[1, 2]]),
    ('plt.hist([1, 2], bins=3)', 'hist', [[1, 2]]), ('plt.boxplot(x=[[1], [2]], positions=[4, 5])', 'boxplot', [[[1], [2]]])])
def test_aliases_of_functions_and_the_parameters_that_hold_data_are_known(line, function, data):
    assert [(call.function, call.data) for call in canonical(PLOT + line).calls] == [(function, data)]


@pytest.mark.parametrize('line', [
    'plt.plot(np.random.rand(3))', 'for v in [1, 2]: plt.plot([v])', 'if x: plt.plot([1])', 'def f(): plt.plot([1])', 'plt.plot(*[1, 2])',
    'a = [1]\na.append(2)\nplt.plot(a)', 'a = [1]\nwhile f(): a = [2]\nplt.plot(a)', 'a = [1]\nb = a.pop()\nplt.plot(a)', 'a = [1]\na[0] = 5\nplt.plot(a)', 'a = [1]\na += [2]\nplt.plot(a)',
    'plt.plot([v for v in range(3)])', 'plt.plot(open("data"))', 'plt.plot([1] * 10 ** 9)', 'plt.plot(np.arange(10 ** 9))', 'plt.plot([9 ** 9 ** 9])',
    'import os\nplt.plot(np.linspace(0, 1, 10 ** 9))', 'plt.plot([1, 2][7])', 'plt.plot(1 / 0)', 'try: plt.plot([1])\nexcept: pass'])
def test_where_reading_ends_the_value_is_unknown(line):
    (call,) = canonical('import numpy as np, matplotlib.pyplot as plt\n' + line).calls
    assert UNKNOWN in call.data or not call.data
    assert not has_flat_data('import numpy as np, matplotlib.pyplot as plt\n' + line)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60) | st.lists(st.sampled_from(
    ['plt.plot(', 'ax.bar(x=', 'a', '=', '[1, 2]', '{"k": 3}', ')', '\n', 'for i in a:', ' ', '*', '-', 'np.array', '(', '.values()', '[0]', ',', '**']),
    max_size=14).map(''.join))
def test_junk_never_raises(text):
    form = canonical(text)
    assert form is None or all(isinstance(call.function, str) and call.data is not None for call in form.calls)
    assert has_flat_data(text) in (True, False)


def test_deep_and_long_programs_end():
    form = canonical(PLOT + 'plt.plot(' + '-' * 50_000 + '1)')
    assert form is None or UNKNOWN in form.calls[0].data
    assert canonical(PLOT + 'plt.plot(' + '[' * 80 + ']' * 80 + ')') is not None
    assert canonical(PLOT + f'plt.plot([1] * {MAX_ITEMS + 1})').calls[0].data == [UNKNOWN]


FLAT = [[1, 2.5], ['a', 'b'], 3, 'x', None, (1, 2), np.arange(3), {'a': 1}, {'a': [1, 2], 'b': (3,)}, {}, []]
NESTED = [[[1], [2]], [(1, 2)], {'a': {'b': 1}}, {'a': [[1]]}, np.eye(2), [{'a': 1}], [np.arange(2)], UNKNOWN]


def test_flat_data_are_one_dimensional_arrays_and_dictionaries_without_dictionaries():
    assert all(map(is_flat, FLAT)) and not any(map(is_flat, NESTED))


@pytest.mark.parametrize(('program', 'kept'), [
    ('plt.bar(["a", "b"], [1, 2])', True), ('d = {"a": [1, 2], "b": [3, 4]}\nplt.plot(d["a"], d["b"])', True), ('plt.title("t")', False),
    ('plt.imshow([[1, 2], [3, 4]])', False), ('d = {"a": {"x": [1]}}\nplt.plot(d["a"]["x"])', False), ('plt.plot([1', False), ('', False),
    ('m = [[1, 2], [3, 4]]\nplt.plot(m[0])', False), ('import numpy as np\nplt.plot(np.array([1, 2]) ** 2, color=(0, 0, 1))', True)])
def test_the_filter_keeps_programs_whose_data_can_be_read(program, kept):
    assert has_flat_data(PLOT + program) is kept
