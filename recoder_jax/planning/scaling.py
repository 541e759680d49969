"""Step time of RL against chips: a model of a few lines, fitted to what `plan` compiled (docs/plans.md). Everything it says is predicted.

A token of every row takes the time to read the weights once on each copy of the policy, and the cache once over all chips:

    WEIGHTS * bytes of the weights / (tensor * bandwidth) + CACHE[stage, turn] * (cache bytes of a token / those of 7B) / (chips * bandwidth)

The update takes its FLOPs over the peak of the chips. Charts lie over the batch axes whole, so no more than 128 * tensor chips share the work of
128 charts. Both are bounds; `reach` is the share of them that a machine is taken to reach. Judge and programs of the last turn run beside its
decoding, so those of it that keep up cost nothing: what is said is how many judges and cores that takes.
"""

import dataclasses
import math

from recoder_jax.planning.machines import CHIPS, Chip

CHARTS, GROUP, TOKENS = 128, 8, 4096  # of a step, of a chart, of a response: the paper's
WEIGHTS = 1.08  # least squares of relative errors over PLANNED without the shared turn of 72B
CACHE = {(1, "shared"): 0.57e11, (1, "own"): 3.48e11, (2, "own"): 6.63e11}  # bytes of 7B
UPDATE = {1: 4.1e17, 2: 7.5e17}  # FLOPs of the program, 7B
READING = {1: 1.3e16, 2: 4.4e16}  # of prompts and feedback, 7B
PROGRAM = 0.1155  # core-seconds of a program with its replay, two workers, our own charts (docs/sandbox.md)
QUESTION, REPLY, SIDE_BY_SIDE = 3600, 512, 64  # tokens of a question with two images, of a reply, and questions at one judge
PLANNED = (  # policy, stage, turn, chip, chips, tensor, ms a token of every row as plan says in docs/plans.md
    ("7b", 1, "shared", "v5p", 16, 1, 7.9), ("7b", 1, "shared", "v5p", 64, 1, 6.3), ("7b", 1, "shared", "v5e", 64, 4, 5.9),
    ("7b", 1, "shared", "v5e", 256, 4, 4.7), ("7b", 1, "own", "v5p", 16, 1, 15.0), ("7b", 1, "own", "v5p", 64, 1, 8.5),
    ("7b", 1, "own", "v5e", 64, 4, 10.4), ("7b", 1, "own", "v5e", 256, 4, 6.2), ("7b", 2, "own", "v5p", 16, 1, 22.3),
    ("7b", 2, "own", "v5p", 64, 1, 10.3), ("7b", 2, "own", "v5e", 64, 4, 16.0), ("7b", 2, "own", "v5e", 256, 4, 7.6),
    ("72b", 1, "shared", "v5p", 128, 4, 31.0), ("72b", 1, "own", "v5p", 128, 4, 24.0), ("72b", 2, "own", "v5p", 128, 4, 29.1),
)


@dataclasses.dataclass(frozen=True)
class Size:
    """A policy. weights: bytes in bfloat16. cache: bytes of a token over those of 7B. work: FLOPs over those of 7B."""

    weights: float
    cache: float
    work: float


SIZES = {"7b": Size(15.2e9, 1.0, 1.0), "72b": Size(145.4e9, 327_680 / 57_344, 3.5e18 / 4.1e17)}


@dataclasses.dataclass(frozen=True)
class Fleet:
    """Hosts of a kind. tensor: least split of each policy. cores: virtual cores of a host, as Google sells it (ct5p-hightpu-4t,
    ct5lp-hightpu-4t, a3-highgpu-8g). sizes: chips that are looked at."""

    chip: Chip
    tensor: dict[str, int]
    chips: int
    cores: int
    sizes: dict[str, tuple[int, ...]]


BY_NAME = {chip.name: chip for chip in CHIPS.values()}
FLEETS = {
    "v5e": Fleet(BY_NAME["v5e"], {"7b": 4}, 4, 112, {"7b": (64, 128, 256)}),
    "v5p": Fleet(BY_NAME["v5p"], {"7b": 1, "72b": 4}, 4, 208, {"7b": (16, 32, 64, 128, 256), "72b": (64, 128, 256)}),
    "H100": Fleet(BY_NAME["H100"], {"7b": 1, "72b": 8}, 8, 208, {"7b": (8, 16, 32, 64, 128, 256, 512), "72b": (64, 128, 256, 512)}),
}


@dataclasses.dataclass(frozen=True)
class Prediction:
    """A step of a stage on so many chips. update, rollout, last: seconds of the update, of the rollout, of decoding its last turn. bound: what the
    largest part waits for. judges: of 72B on 8 H100 each, that keep up with the last turn. cores: busy with its programs meanwhile. burst: seconds that
    its programs take where all responses end at once, on half of the hosts' cores."""

    policy: str
    stage: int
    fleet: str
    chips: int
    tensor: int
    update: float
    rollout: float
    last: float
    bound: str
    judges: int
    cores: float
    burst: float

    @property
    def step(self) -> float:
        return self.update + self.rollout

    def line(self) -> str:
        return (f"| {self.policy} | {self.stage} | {self.fleet} | {self.chips} | {self.tensor} | {self.update:.0f} | {self.rollout:.0f} | {self.step:.0f} "
                f"| {self.chips * self.step / 3600:.1f} | {self.bound} | {self.judges} | {self.cores:.1f} | {self.burst:.1f} |")


def token_parts(policy: str, stage: int, turn: str, chip: Chip, chips: int, tensor: int) -> tuple[float, float]:
    """Seconds of a token of every row at the roofline: for the weights, and for the cache. turn: shared or own."""
    size = SIZES[policy]
    used = min(chips, CHARTS * tensor)
    return WEIGHTS * size.weights / (tensor * chip.bandwidth), CACHE[stage, turn] * size.cache / (used * chip.bandwidth)


def question_seconds(reach: float) -> float:
    """Seconds that one judge, 72B in bfloat16 on 8 H100 with SIDE_BY_SIDE questions, takes for a question."""
    chip, size, chips = BY_NAME["H100"], SIZES["72b"], 8
    reading = 2 * size.weights / 2 * QUESTION / (chips * chip.flops)
    cache = SIDE_BY_SIDE * (QUESTION + REPLY / 2) * 327_680
    token = (WEIGHTS * size.weights + cache) / (chips * chip.bandwidth)
    return (reading + REPLY * token / SIDE_BY_SIDE) / reach


def predicted(policy: str, stage: int, name: str, chips: int, reach: float = 0.5) -> Prediction:
    """reach: share of the roofline that is reached, for policy and judge alike. Raises ValueError for a share that is none."""
    if not 0 < reach <= 1:
        raise ValueError(f"--reach is {reach}; give the share of the roofline that is reached, above 0 and at most 1")
    fleet, size = FLEETS[name], SIZES[policy]
    tensor = max(fleet.tensor[policy], 1 << max(0, math.ceil(math.log2(chips / CHARTS))))
    used = min(chips, CHARTS * tensor)
    turns = ["shared", "own"] if stage == 1 else ["own", "own"]
    parts = [token_parts(policy, stage, turn, fleet.chip, chips, tensor) for turn in turns]
    reading = READING[stage] * size.work / (used * fleet.chip.flops)
    weights, cache = (TOKENS * sum(kind) / reach for kind in zip(*parts, strict=True))
    update = UPDATE[stage] * size.work / (used * fleet.chip.flops) / reach
    last, rows = TOKENS * sum(parts[-1]) / reach, CHARTS * GROUP
    bound = max((weights, "decode, weights"), (cache, "decode, cache"), (update, "update"))[1]
    return Prediction(
        policy, stage, name, chips, tensor, update, weights + cache + reading / reach, last, bound, math.ceil(rows * question_seconds(reach) / last),
        rows * PROGRAM / last, rows * PROGRAM / (fleet.cores / 2 * chips / fleet.chips),
    )


def table(reach: float = 0.5) -> str:
    """All fleets, stages and policies in Markdown."""
    head = "| policy | stage | chip | chips | tensor | update s | rollout s | step s | chip-hours a step | bound by | judges | cores | burst s |"
    rows = [
        predicted(policy, stage, name, chips, reach).line()
        for name, fleet in FLEETS.items() for policy, sizes in fleet.sizes.items() for stage in (1, 2) for chips in sizes
    ]
    return "\n".join([head, "|---|---:|---|---:|---:|---:|---:|---:|---:|---|---:|---:|---:|", *rows])


def fit_table() -> str:
    """What the model gives beside what it was fitted to, in Markdown."""
    rows = []
    for policy, stage, turn, name, chips, tensor, planned in PLANNED:
        given = 1e3 * sum(token_parts(policy, stage, turn, BY_NAME[name], chips, tensor))
        rows.append(f"| {policy} | {stage} | {turn} | {name} | {chips} | {planned} | {given:.1f} | {100 * (given / planned - 1):+.0f} % |")
    return "\n".join(["| policy | stage | turn | chip | chips | plan, ms | model, ms | |", "|---|---:|---|---|---:|---:|---:|---:|", *rows])
