"""What a traced program computes: FLOPs of its matrix products and its largest arrays, on all chips together.

Loops count as often as they run; recomputation, padding and masked parts count, because they are computed. A while loop that ends
when the data says so counts once. Kernels count the blocks that run, of which the caller gives the share.
"""

import collections
import dataclasses
import math
from pathlib import Path

from jax.extend import core

from recoder_jax.planning.kernels import Shares

KEPT = 5


@dataclasses.dataclass(frozen=True)
class Array:
    """An array that the program makes. where: file and line of the package."""

    bytes: int
    shape: str
    where: str


@dataclasses.dataclass(frozen=True)
class Work:
    """flops: of matrix products. largest: the largest results of matrix products and arrays kept for the backward pass."""

    flops: float
    largest: tuple[Array, ...]


def work(jaxpr: core.ClosedJaxpr, shares: Shares) -> Work:
    arrays: dict[str, Array] = collections.OrderedDict()
    flops = _flops(jaxpr.jaxpr, arrays, shares)
    largest = sorted(arrays.values(), key=lambda array: -array.bytes)[:KEPT]
    return Work(flops, tuple(largest))


def _flops(jaxpr, arrays: dict[str, Array], shares: Shares, outside: str = "") -> float:
    """outside: name stacks of the equations around `jaxpr`, which its own equations do not carry."""
    total = 0.0
    for equation in jaxpr.eqns:
        name, parameters = equation.primitive.name, equation.params
        if name == "dot_general":
            (contracted, _), _ = parameters["dimension_numbers"]
            inner = math.prod(equation.invars[0].aval.shape[axis] for axis in contracted)
            total += 2.0 * math.prod(equation.outvars[0].aval.shape) * inner
        if name in ("dot_general", "scan", "concatenate"):
            _note(equation, arrays)
        scope = f"{outside}/{equation.source_info.name_stack}"
        bodies = [_flops(inner, {} if name == "pallas_call" else arrays, shares, scope) for inner in _inner(parameters)]
        if name == "scan":
            total += parameters["length"] * sum(bodies)
        elif name == "cond":
            total += max(bodies, default=0.0)
        elif name == "shard_map":
            total += parameters["mesh"].size * sum(bodies)
        elif name == "pallas_call":
            steps = math.prod(parameters["grid_mapping"].grid)
            total += steps * shares.of(scope) * sum(bodies)
        else:
            total += sum(bodies)
    return total


def _inner(parameters: dict) -> list:
    found = []
    for value in parameters.values():
        for one in value if isinstance(value, (tuple, list)) else (value,):
            one = getattr(one, "jaxpr", one)
            if hasattr(one, "eqns"):
                found.append(one)
    return found


def _note(equation, arrays: dict[str, Array]) -> None:
    """Remember the largest result of an equation by its place in the code."""
    best = max((variable.aval for variable in equation.outvars if hasattr(variable.aval, "dtype")), key=_bytes, default=None)
    if best is None:
        return
    where = _where(equation)
    if where not in arrays or arrays[where].bytes < _bytes(best):
        arrays[where] = Array(_bytes(best), best.str_short(short_dtypes=True), where)


def _bytes(aval) -> int:
    return math.prod(aval.shape) * getattr(aval.dtype, "itemsize", 4)


def _where(equation) -> str:
    """The innermost line of this package that made an equation, and what for: `attention.py:96 (_attend)`."""
    traceback = equation.source_info.traceback
    for frame in traceback.frames if traceback else ():
        if "recoder_jax" in frame.file_name:
            return f"{Path(frame.file_name).name}:{frame.line_num} ({frame.function_name.rsplit('.', 1)[-1]})"
    return "elsewhere"
