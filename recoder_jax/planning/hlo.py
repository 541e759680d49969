"""What a compiled program moves, read from its HLO text: bytes over the links by kind of collective, bytes to and from memory.

Text of one device's program, so all numbers are per chip. Bodies of loops count as often as they run where that is known (a layer
loop); the body of a loop that ends when the data says so (decoding) counts once, so its numbers are those of one token.
"""

import collections
import dataclasses
import functools
import math
import re

BYTES = {"pred": 1, "s4": 0.5, "u4": 0.5, "bf16": 2, "f16": 2, "c64": 8, "c128": 16, "token": 0, "opaque": 0}
COLLECTIVES = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "ragged-all-to-all", "collective-permute", "collective-broadcast")
FREE = {
    "parameter", "constant", "tuple", "get-tuple-element", "bitcast", "while", "conditional", "call", "after-all", "partition-id", "replica-id",
    "iota", "opt-barrier", "optimization-barrier", "async-start", "async-update", "domain",
}
ARRAY = re.compile(r"(\w+)\[([\d,]*)\](?:\{([^{}]*)\})?")


@dataclasses.dataclass(frozen=True)
class Instruction:
    name: str
    opcode: str
    shape: str
    operands: tuple[str, ...]
    rest: str

    def called(self, *keys: str) -> list[str]:
        """Names of the computations behind attributes such as body= and calls=."""
        found = []
        for key in keys:
            match = re.search(rf"\b{key}=(?:\{{([^}}]*)\}}|%?([\w.\-]+))", self.rest)
            found += re.findall(r"[\w.\-]+", match[1] or match[2]) if match else []
        return found

    @property
    def number(self) -> int:
        """Of a parameter."""
        return int(re.match(r"\((\d+)\)", self.rest)[1])


@dataclasses.dataclass(frozen=True)
class Traffic:
    """Bytes a chip. collectives: sent over the links, by kind. counts: collectives run, by kind. memory: read and written. open_loops:
    loops whose number of turns is not known, counted once."""

    collectives: dict[str, float]
    counts: dict[str, int]
    memory: float
    open_loops: int


def traffic(text: str) -> Traffic:
    """The traffic of a program given as `compiled.as_text()`."""
    program = parse(text)
    sent, counts, seen = collections.Counter(), collections.Counter(), [0.0, 0]

    def walk(name: str, times: int, fused: bool, channels: set[str]) -> None:
        """`channels`: of the collectives met in this loop body; the TPU compiler spreads one over several fusions."""
        table = {one.name: one for one in program[name]}
        for one in program[name]:
            kind, channel = one.opcode.removesuffix("-start"), re.search(r"channel_id=\d+", one.rest)
            if kind in COLLECTIVES and not (channel and channel[0] in channels):
                channels.add(channel[0] if channel else one.name)
                kind = "reduce-scatter" if "reduce-scatter" in name else kind
                sent[kind] += times * wire_bytes(kind, one, table)
                counts[kind] += times
                seen[0] += times * touched(one, table, program) if fused else 0.0
            if not fused:
                seen[0] += times * touched(one, table, program)
            if one.opcode == "while":
                turns = trips(one, program)
                seen[1] += turns is None
                for body in one.called("body"):
                    walk(body, times * (turns or 1), fused, set())
            elif one.opcode in ("call", "async-start", "conditional", "fusion"):
                for inner in one.called("to_apply", "calls", "branch_computations", "true_computation", "false_computation"):
                    walk(inner, times, fused or one.opcode == "fusion", channels)

    walk(program["ENTRY"][0].name, 1, False, set())
    return Traffic(dict(sent), dict(counts), *seen)


def parse(text: str) -> dict[str, list[Instruction]]:
    """Instructions by computation; the key ENTRY holds one pseudo-instruction with the entry's name."""
    program, here = {}, None
    for line in text.splitlines():
        if line.endswith("{") and not line.startswith((" ", "HloModule")):
            entry, name = re.match(r"(ENTRY )?%?([\w.\-]+)", line).groups()
            here = program.setdefault(name, [])
            if entry:
                program["ENTRY"] = [Instruction(name, "entry", "", (), "")]
        elif here is not None and " = " in line:
            here.append(instruction(line))
    return program


def instruction(line: str) -> Instruction:
    left, right = line.strip().removeprefix("ROOT ").split(" = ", 1)
    end = closing(right) if right.startswith("(") else right.index(" ")
    shape, right = right[:end], right[end:].lstrip()
    start = right.index("(")
    end = start + closing(right[start:])
    operands = tuple(re.findall(r"%([\w.\-]+)", right[start:end]))
    rest = right[start:] if right.startswith(("constant", "parameter")) else right[end:]
    return Instruction(left.removeprefix("%"), right[:start], shape, operands, rest)


def closing(text: str) -> int:
    """One past the parenthesis that closes the one `text` begins with."""
    depth = 0
    for place, sign in enumerate(text):
        depth += (sign == "(") - (sign == ")")
        if depth == 0:
            return place + 1
    return len(text)


@functools.cache
def size(shape: str, memory: bool = False) -> float:
    """Bytes of a shape, of all parts of a tuple; with `memory` without the parts that lie on the chip (memory space S(1) and above)."""
    total = 0.0
    for kind, dimensions, layout in ARRAY.findall(shape):
        if memory and re.search(r"S\([1-9]", layout):
            continue
        digits = re.search(r"\d+", kind)
        each = BYTES.get(kind, int(digits[0]) / 8 if digits else 0)
        total += each * math.prod(int(d) for d in dimensions.split(",") if d)
    return total


def wire_bytes(kind: str, one: Instruction, table: dict[str, Instruction]) -> float:
    """Bytes a chip sends when a ring of the group's n chips does this: (n - 1) / n of the whole array, twice for an all-reduce."""
    whole = max([sum(size(table[name].shape) for name in one.operands if name in table)] + [size(part) for part in parts(one.shape)])
    if kind == "collective-permute":
        return whole
    n = group_size(one.rest)
    return (2 if kind == "all-reduce" else 1) * whole * (n - 1) / n


def parts(shape: str) -> list[str]:
    return [match[0] for match in ARRAY.finditer(shape)]


def group_size(rest: str) -> int:
    named = re.search(r"replica_groups=mesh\[([^\]]*)\] \{([^}]*)\}", rest)
    if named:
        sizes = dict(re.findall(r"'(\w+)'=(\d+)", named[1]))
        return math.prod(int(sizes[axis]) for axis in re.findall(r"'(\w+)'", named[2]))
    iota = re.search(r"replica_groups=\[([\d,]+)\]<=", rest)
    if iota:
        return int(iota[1].split(",")[-1])
    listed = re.search(r"replica_groups=\{\{([\d,]*)\}", rest)
    return listed[1].count(",") + 1 if listed else 1


def trips(loop: Instruction, program: dict[str, list[Instruction]]) -> int | None:
    """How often a while loop runs: stated by the compiler, or the bound that its condition compares a counter with."""
    known = re.search(r'known_trip_count":\{"n":"(\d+)"', loop.rest)
    if known:
        return int(known[1])
    condition = program.get((loop.called("condition") or [""])[0], [])
    if sum(one.opcode == "compare" for one in condition) != 1 or any(one.opcode in ("and", "fusion") for one in condition):
        return None
    bounds = [int(found[1]) for one in condition if one.opcode == "constant" and (found := re.match(r"\((\d+)\)", one.rest))]
    return bounds[0] if len(bounds) == 1 else None


def touched(one: Instruction, table: dict[str, Instruction], program: dict[str, list[Instruction]]) -> float:
    """Bytes of memory that an instruction reads and writes; what it slices or updates in place counts by the slice."""
    if one.opcode in FREE or one.opcode.endswith("-done") or one.opcode == "custom-call" and "AllocateBuffer" in one.rest:
        return 0.0
    operands = [table[name].shape if name in table else "" for name in one.operands]
    if one.opcode in ("dynamic-slice", "slice", "gather"):
        return 2 * size(one.shape, memory=True)
    if one.opcode == "dynamic-update-slice":
        return 2 * size(operands[1], memory=True)
    if one.opcode == "fusion":
        return fusion_bytes(one, operands, program)
    if one.opcode == "slice-start":
        return size(parts(one.shape)[1]) + size(parts(one.shape)[1], memory=True)
    result = parts(one.shape)[0 if one.opcode == "copy-start" else 1] if one.opcode.endswith("-start") else one.shape
    return size(result, memory=True) + sum(size(shape, memory=True) for shape in operands)


def fusion_bytes(one: Instruction, operands: list[str], program: dict[str, list[Instruction]]) -> float:
    """Memory traffic of a fusion: operands that it only slices count by the slices, results updated in place by the update."""
    body = program[one.called("calls")[0]]
    table = {inner.name: inner for inner in body}
    results = [table[name] for name in body[-1].operands if name in table] if body[-1].opcode == "tuple" else [one]
    total, written = 0.0, sum(size(result.shape, memory=True) for result in results if not passes(result))
    for inner in body:
        if inner.opcode == "parameter":
            whole = size(operands[inner.number], memory=True)
            total += min(whole, read(inner, body, program))
            if whole and any(user.opcode == "dynamic-update-slice" and user.operands[0] == inner.name for user in body):
                written -= whole
    updates = sum(size(table[user.operands[1]].shape) for user in body if user.opcode == "dynamic-update-slice" and user.operands[1] in table)
    return total + max(written, 0.0) + updates


def passes(one: Instruction) -> bool:
    """Whether a result of a fusion is nothing that the fusion computes: an operand handed on, or a collective under way through it."""
    return one.opcode in ("parameter", *COLLECTIVES) or "AsyncCollective" in one.rest


def read(one: Instruction, body: list[Instruction], program: dict[str, list[Instruction]]) -> float:
    """Bytes that the users of a value inside a fusion read of it: slices of it, or all of it. What is updated in place is not read."""
    whole = size(one.shape)
    users = [user for user in body if one.name in user.operands]
    if not users:
        return whole
    total = 0.0
    for user in users:
        first = user.operands[0] == one.name
        if first and user.opcode in ("dynamic-slice", "slice", "gather"):
            total += size(user.shape)
        elif first and (user.opcode == "bitcast" or "output_to_operand_aliasing={{}: (0, {})}" in user.rest):  # the same bits under another tiling
            total += read(user, body, program)
        elif user.opcode == "fusion":
            inner = program[user.called("calls")[0]]
            places = [place for place, name in enumerate(user.operands) if name == one.name]
            total += sum(read(parameter, inner, program) for parameter in inner if parameter.opcode == "parameter" and parameter.number in places)
        elif not (user.opcode == "tuple" or passes(user) or first and user.opcode == "dynamic-update-slice"):
            return whole
    return min(whole, total)
