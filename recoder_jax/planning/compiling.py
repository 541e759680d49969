"""One jitted function compiled ahead of time from abstract arguments, and what the compiler says of it. Nothing is allocated or run."""

import dataclasses
import math
import re
import time
from collections.abc import Callable

import jax

from recoder_jax.planning.hlo import Traffic, traffic
from recoder_jax.planning.jaxpr import Work, work
from recoder_jax.planning.kernels import Shares

UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
REFUSED = (r"HLO temporaries \(([\d.]+)([KMGT]?)", r"Used ([\d.]+)([KMGT]?) of")  # temporaries; or all that the program holds


@dataclasses.dataclass(frozen=True)
class Memory:
    """Bytes of one chip's memory while a step runs. `aliased` bytes of the output lie where donated arguments lay."""

    arguments: int
    temporaries: int
    output: int
    aliased: int
    code: int = 0

    @property
    def total(self) -> int:
        return self.arguments + self.temporaries + self.output - self.aliased + self.code


@dataclasses.dataclass(frozen=True)
class Compiled:
    """held: bytes a chip of every argument by name, before arguments that the function does not read are dropped. refused: the
    compiler's sentence where the program does not fit; `memory` then is of its figure, and there is no traffic. cost_flops, cost_bytes:
    of XLA's cost model, a chip, as it prints them. result: abstract, placed as the compiler chose unless it refused."""

    held: dict[str, int]
    memory: Memory
    work: Work
    traffic: Traffic | None
    cost_flops: float
    cost_bytes: float
    seconds: float
    refused: str
    result: object


def compile_step(function: Callable, arguments: dict[str, object], shares: Shares = Shares(), **static) -> Compiled:
    """Trace, lower and compile a jitted function. arguments: trees of `jax.ShapeDtypeStruct`, by a name for reports, in order. shares: of
    its kernels' blocks that run."""
    held = {name: held_bytes(tree) for name, tree in arguments.items()}
    began = time.perf_counter()
    traced = function.trace(*arguments.values(), **static)
    done = work(traced.jaxpr, shares)
    lowered = traced.lower()
    try:
        compiled = lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        reason = " ".join(str(error).split())
        if "RESOURCE_EXHAUSTED" not in reason:
            raise
        memory = refused_memory(reason, sum(held.values()))
        return Compiled(held, memory, done, None, 0.0, 0.0, time.perf_counter() - began, reason, traced.out_info)
    stats, costs = compiled.memory_analysis(), compiled.cost_analysis() or {}
    memory = Memory(
        stats.argument_size_in_bytes, stats.temp_size_in_bytes, stats.output_size_in_bytes, stats.alias_size_in_bytes,
        stats.generated_code_size_in_bytes,
    )
    moved = traffic(compiled.as_text())
    result = jax.tree.map(
        lambda out, where: jax.ShapeDtypeStruct(out.shape, out.dtype, sharding=where), traced.out_info, compiled.output_shardings
    )
    flops, moved_by_model = costs.get("flops", 0.0), costs.get("bytes accessed", 0.0)
    return Compiled(held, memory, done, moved, flops, moved_by_model, time.perf_counter() - began, "", result)


def held_bytes(tree) -> int:
    """Bytes of one chip's shards of a tree of abstract arrays; what has no sharding is whole on every chip."""
    total = 0
    for leaf in jax.tree.leaves(tree):
        sharding = getattr(leaf, "sharding", None)
        shape = leaf.shape if sharding is None else sharding.shard_shape(leaf.shape)
        total += math.prod(shape) * leaf.dtype.itemsize
    return total


def refused_memory(reason: str, arguments: int) -> Memory:
    """The compiler's figure for a program that it refused; it states temporaries, or the sum of everything."""
    for place, pattern in enumerate(REFUSED):
        found = re.search(pattern, reason)
        if found:
            said = int(float(found[1]) * UNITS[found[2]])
            return Memory(arguments, said if place == 0 else max(0, said - arguments), 0, 0)
    return Memory(arguments, 0, 0, 0)
