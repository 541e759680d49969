"""The plotting calls of a program in canonical form, read without running it.

    import numpy as np; d = {'a': 2, 'b': 3}; bars = ax.bar; bars(list(d), height=np.array([2, 3]) * 10)
    ──►  PlotCall('bar', {'x': ['a', 'b'], 'height': array([20, 30])})

Constants are folded through names, arithmetic, indexing, dictionaries and the functions of numpy that make arrays; aliases of
modules, names and methods are resolved; positional arguments get the names of matplotlib's signatures. Reading ends where a
value is computed by anything else: it is UNKNOWN then, and so is every argument of a call in a loop, a function, a class or
behind a condition, and every name that is assigned there.

The text of a program is no evidence of what it draws; `rewards/textual` uses these values for calls that were drawn.
"""

import ast
import functools
import inspect
import operator
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from recoder_jax.charts.chart_types import PLOTTING

UNKNOWN = object()
MAX_ITEMS = 20_000            # of an array or list that is folded
_MAX_DEPTH = 60               # of an expression
_MAX_EXPONENT = 64
# Parameters of plotting functions that hold data, in this order; of `plot` and others with *args all arguments do.
_DATA = ('x', 'y', 'X', 'Y', 'Z', 'C', 'args', 'height', 'width', 'y1', 'y2', 'x1', 'x2', 'positions', 'dataset', 'xranges', 'a',
         'values', 'heights', 'ymin', 'ymax', 'xmin', 'xmax')
_NOT_DATA = {'bar': ('width',), 'hist2d': (), 'violinplot': ('positions',), 'boxplot': ('positions',), 'barh': ('height',)}
_OPERATORS: dict[type, Callable] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod, ast.Pow: operator.pow}
_CONSTANTS = {'numpy.pi': np.pi, 'math.pi': np.pi, 'numpy.e': np.e, 'math.e': np.e, 'numpy.nan': np.nan}
_CONTAINERS = ('list', 'tuple', 'numpy.array', 'numpy.asarray', 'pandas.DataFrame', 'pandas.Series')


@dataclass(frozen=True)
class PlotCall:
    """One plotting call. function: as matplotlib's method is named, aliases resolved. arguments: by parameter, UNKNOWN where
    reading ended."""

    function: str
    arguments: dict[str, object]

    @property
    def data(self) -> list[object]:
        """Values of the parameters that hold data; UNKNOWN among them where reading ended."""
        leave = _NOT_DATA.get(self.function, ())
        found = []
        for name in _DATA:
            if name in self.arguments and name not in leave:
                value = self.arguments[name]
                found += [one for one in value if not isinstance(one, str)] if name == 'args' and value is not UNKNOWN else [value]
        return found


@dataclass(frozen=True)
class Canonical:
    """calls: in the order of the text. assigned: every value given to a name, as far as it was read."""

    calls: tuple[PlotCall, ...]
    assigned: tuple[object, ...]


def canonical(program: str) -> Canonical | None:
    """The canonical form of a program; None where it does not parse."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')          # invalid escapes and divisions are the program's own affair
            with np.errstate(all='ignore'):
                reader = _Reader()
                reader.block(ast.parse(program).body, certain=True)
                return Canonical(tuple(reader.calls), tuple(reader.assigned))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def is_flat(value: object) -> bool:
    """Whether a value is a number, a text, an array or list of one dimension, or a dictionary of such without dictionaries."""
    if isinstance(value, dict):
        return all(not isinstance(one, dict) and is_flat(one) for one in value.values())
    if isinstance(value, np.ndarray):
        return value.ndim <= 1
    if isinstance(value, list | tuple):
        return all(not isinstance(one, list | tuple | dict | np.ndarray) for one in value)
    return value is not UNKNOWN


def has_flat_data(program: str) -> bool:
    """Whether a program plots, and all its data are arrays of one dimension or flat dictionaries that can be read from its text.

    The filter of MSRL's RL data (arXiv 2508.13587: one-dimensional arrays or non-nested dictionaries, 33k of 130k charts). What
    counts as readable is ours: see this module; a dictionary of one-dimensional arrays is flat.
    """
    form = canonical(program)
    if form is None or not form.calls:
        return False
    read = [value for call in form.calls for value in (call.data or [UNKNOWN])]
    return all(map(is_flat, read)) and all(is_flat(value) for value in form.assigned if value is not UNKNOWN)


class _Reader:
    """Walks statements in order; names: what each name is known to be."""

    def __init__(self):
        self.calls: list[PlotCall] = []
        self.assigned: list[object] = []
        self._names: dict[str, object] = {}
        self._modules: dict[str, str] = {}         # local name -> dotted name
        self._methods: dict[str, str] = {}         # local name -> plotting method

    def block(self, statements: list[ast.stmt], certain: bool) -> None:
        for statement in statements:
            self._statement(statement, certain)

    def _statement(self, node: ast.stmt, certain: bool) -> None:
        if isinstance(node, ast.Import):
            for alias in node.names:
                self._modules[alias.asname or alias.name.split('.')[0]] = alias.name if alias.asname else alias.name.split('.')[0]
        elif isinstance(node, ast.ImportFrom):
            self._modules.update({alias.asname or alias.name: f'{node.module}.{alias.name}' for alias in node.names})
        elif isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
            self._assign(node, certain)
        elif isinstance(node, ast.With):
            self._expressions(node.items, certain)
            self.block(node.body, certain)
        elif isinstance(node, ast.Expr):
            self._expressions([node], certain)
            self._forget(node)
        else:                                        # loops, conditions, functions, classes
            self._forget(node)
            self._expressions([node], certain=False)

    def _expressions(self, nodes: list[ast.AST], certain: bool) -> None:
        """Notes the plotting calls in expressions."""
        for node in (inner for one in nodes for inner in ast.walk(one) if isinstance(inner, ast.Call)):
            name = self._plotting(node.func)
            if name is not None:
                self.calls.append(PlotCall(PLOTTING[name], self._arguments(name, node, certain)))

    def _plotting(self, function: ast.expr) -> str | None:
        if isinstance(function, ast.Name):
            return self._methods.get(function.id)
        if isinstance(function, ast.Attribute) and function.attr in PLOTTING:
            return None if self._dotted(function.value).startswith(('numpy', 'pandas', 'math')) else function.attr
        return None

    def _arguments(self, name: str, node: ast.Call, certain: bool) -> dict[str, object]:
        values = [UNKNOWN if isinstance(one, ast.Starred) or not certain else self.fold(one) for one in node.args]
        named = {one.arg: self.fold(one.value) if certain else UNKNOWN for one in node.keywords if one.arg}
        try:
            bound = _signature(name).bind_partial(None, *values, **named).arguments
        except (TypeError, AttributeError):          # a call that matplotlib refuses
            return {'args': tuple(values)} | named
        bound = {key: value for key, value in bound.items() if key != 'self'}
        return bound | bound.pop('kwargs', {})

    def _assign(self, node: ast.Assign | ast.AnnAssign | ast.AugAssign, certain: bool) -> None:
        self._expressions([node], certain)
        if isinstance(node, ast.AugAssign) or not certain or node.value is None:
            self._forget(node)
            return
        value = self.fold(node.value)
        self._forget(node)                           # what is changed on the way, as by a.pop()
        self.assigned.append(value)
        for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
            self._bind(target, value, node.value)

    def _bind(self, target: ast.expr, value: object, source: ast.expr | None) -> None:
        if isinstance(target, ast.Name):
            self._names[target.id] = value
            self._methods.pop(target.id, None)
            if isinstance(source, ast.Attribute) and source.attr in PLOTTING:
                self._methods[target.id] = source.attr
        elif isinstance(target, ast.Tuple | ast.List):
            known = isinstance(value, list | tuple) and len(value) == len(target.elts)
            for number, one in enumerate(target.elts):
                self._bind(one, value[number] if known else UNKNOWN, None)
        else:                                        # an item of something: that something is no longer what it was
            self._forget(target)

    def _forget(self, node: ast.AST) -> None:
        """Every name that the statement may bind or change is unknown from here on."""
        for inner in ast.walk(node):
            if isinstance(inner, ast.Name) and (isinstance(inner.ctx, ast.Store) or isinstance(node, ast.expr)):
                self._names[inner.id] = UNKNOWN
            elif isinstance(inner, ast.Call) and isinstance(inner.func, ast.Attribute) and isinstance(inner.func.value, ast.Name):
                if inner.func.attr in ('append', 'extend', 'update', 'insert', 'sort', 'reverse', 'pop'):
                    self._names[inner.func.value.id] = UNKNOWN

    def _dotted(self, node: ast.expr) -> str:
        if isinstance(node, ast.Name):
            return self._modules.get(node.id, node.id if node.id not in self._names else '')
        return f'{self._dotted(node.value)}.{node.attr}' if isinstance(node, ast.Attribute) else ''

    def fold(self, node: ast.expr, depth: int = 0) -> object:
        """The value of an expression, UNKNOWN where reading ends."""
        if depth > _MAX_DEPTH:
            return UNKNOWN
        try:
            return self._fold(node, lambda inner: self.fold(inner, depth + 1))
        except Exception:                            # whatever folding a stranger's constants raises
            return UNKNOWN

    def _fold(self, node: ast.expr, fold: Callable[[ast.expr], object]) -> object:
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.Name):
            return self._names.get(node.id, UNKNOWN)
        if isinstance(node, ast.List | ast.Tuple):
            return _whole([fold(one) for one in node.elts])
        if isinstance(node, ast.Dict):
            keys = _whole([fold(key) if key else UNKNOWN for key in node.keys])
            values = _whole([fold(value) for value in node.values])
            return UNKNOWN if UNKNOWN in (keys, values) else dict(zip(keys, values, strict=True))
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            return _negated(fold(node.operand))
        if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
            return _combined(type(node.op), fold(node.left), fold(node.right))
        if isinstance(node, ast.Subscript):
            return _item(fold(node.value), node.slice, fold)
        if isinstance(node, ast.Attribute):
            return _CONSTANTS.get(self._dotted(node), UNKNOWN)
        if isinstance(node, ast.Call) and not any(isinstance(one, ast.Starred) for one in node.args):
            return self._called(node, [fold(one) for one in node.args])
        return UNKNOWN

    def _called(self, node: ast.Call, values: list[object]) -> object:
        if isinstance(node.func, ast.Attribute) and node.func.attr in ('keys', 'values', 'tolist') and not values:
            owner = self.fold(node.func.value)
            if isinstance(owner, dict):
                return list(owner if node.func.attr == 'keys' else owner.values())
            return owner.tolist() if isinstance(owner, np.ndarray) else UNKNOWN
        name = self._dotted(node.func)
        if any(value is UNKNOWN for value in values) or (node.keywords and name not in _CONTAINERS):
            return UNKNOWN
        if name in _CONTAINERS and len(values) == 1:
            return np.array(values[0]) if name.startswith('numpy') else values[0] if isinstance(values[0], dict | np.ndarray) and name != 'list' \
                else list(values[0])
        if name in ('range', 'numpy.arange') and len(range(*map(int, values))) <= MAX_ITEMS and all(type(one) is int for one in values):
            return np.arange(*values)
        if name == 'numpy.linspace' and 2 <= len(values) <= 3 and (values[2:] or [50])[0] <= MAX_ITEMS:
            return np.linspace(*values)
        return len(values[0]) if name == 'len' and len(values) == 1 else UNKNOWN


@functools.cache
def _signature(name: str) -> inspect.Signature:
    function = inspect.unwrap(getattr(Axes, name))
    return inspect.signature(getattr(function, 'recorded_original', function))


def _whole(values: list[object]) -> object:
    """The list, UNKNOWN where one of its items is."""
    return UNKNOWN if len(values) > MAX_ITEMS or any(value is UNKNOWN for value in values) else values


def _negated(value: object) -> object:
    return -value if isinstance(value, int | float | np.ndarray) else UNKNOWN


def _combined(kind: type, left: object, right: object) -> object:
    """Arithmetic on numbers and arrays, and lists put together or repeated within MAX_ITEMS."""
    numbers = (int, float, np.ndarray, np.number)
    if isinstance(left, numbers) and isinstance(right, numbers):
        if kind is ast.Pow and np.max(np.abs(right)) > _MAX_EXPONENT:
            return UNKNOWN
        result = _OPERATORS[kind](left, right)
        return result if np.size(result) <= MAX_ITEMS else UNKNOWN
    if kind is ast.Add and isinstance(left, list) and isinstance(right, list):
        return _whole(left + right)
    if kind is ast.Mult and isinstance(left, list) and type(right) is int and len(left) * right <= MAX_ITEMS:
        return left * right
    return UNKNOWN


def _item(value: object, index: ast.expr, fold: Callable[[ast.expr], object]) -> object:
    if value is UNKNOWN or not isinstance(value, list | dict | np.ndarray | str):
        return UNKNOWN
    if isinstance(index, ast.Slice):
        ends = [None if end is None else fold(end) for end in (index.lower, index.upper, index.step)]
        return UNKNOWN if isinstance(value, dict) or any(end is UNKNOWN for end in ends) else value[slice(*ends)]
    key = fold(index)
    return UNKNOWN if key is UNKNOWN else value[key]
