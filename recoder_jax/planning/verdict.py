"""From compiled steps to an answer: the time at the roofline, whether it fits, and which key of the config to turn first."""

import dataclasses

from ml_collections import ConfigDict

from recoder_jax.planning.machines import GIB, Chip
from recoder_jax.planning.steps import Step

ASSUMPTIONS = """\
Roofline: a step takes the longest of three times, as if they overlapped: FLOPs of the program's matrix products at the bfloat16 peak,
memory traffic read off the compiled program at the memory's bandwidth, bytes sent in ring collectives at the sum of a chip's links, one way.
FLOPs of the program count recomputation, padding and hidden keys; those of the rule do not. Bodies of layer and micro-batch loops count as
often as they run; decoding counts one token of every row. Every image is at image.max_pixels, every response and feedback at its cap.
The cost model's figures are XLA's own, a chip, and may count the body of a loop once. Host work, judges and programs are left out."""


@dataclasses.dataclass(frozen=True)
class Time:
    """Seconds of one execution at the roofline; None where it cannot be known."""

    compute: float
    memory: float | None
    links: float | None

    @property
    def seconds(self) -> float:
        return max(self.compute, self.memory or 0.0, self.links or 0.0)

    @property
    def bound(self) -> str:
        times = {"compute": self.compute, "memory": self.memory or 0.0, "links": self.links or 0.0}
        return max(times, key=times.get)


def time_of(step: Step, chip: Chip | None, chips: int) -> Time | None:
    """None for a chip that the table does not hold."""
    if chip is None:
        return None
    moved, compute = step.compiled.traffic, step.compiled.work.flops / chips / chip.flops
    if moved is None:
        return Time(compute, None, None)
    return Time(compute, moved.memory / chip.bandwidth, sum(moved.collectives.values()) / chip.links)


def peak(step: Step) -> int:
    """Bytes of a chip's memory in use while a step runs."""
    return step.compiled.memory.total + step.beside


def fits(step: Step, chip: Chip | None) -> bool:
    """What the compiler accepted fits on a chip of unknown memory."""
    if step.compiled.refused:
        return False
    return chip is None or peak(step) <= chip.memory


def first_knob(step: Step, config: ConfigDict, share: int, room: int) -> str:
    """The key to turn first for a step that does not fit, by what takes most of the memory. share: devices on the batch axes; room:
    bytes of a chip."""
    held, memory = dict(step.compiled.held), step.compiled.memory
    takes = {**held, "beside": step.beside, "temporaries": memory.temporaries, "output": memory.output - memory.aliased}
    most = max(takes, key=takes.get)
    start = f"{most} take {takes[most] / GIB:.1f} GiB a chip"
    if most in ("state", "parameters"):
        return f"{start}: raise mesh.fsdp or mesh.tensor, that is take more chips, or set model.param_dtype to bfloat16"
    if step.name == "look at renders":
        return f"{start}: lower visual.batch, choose a smaller visual.model, or set visual.device to cpu"
    if most == "beside":
        return f"{start} (moments and the batch of the update before, the reference of KL, what looks at renders): raise mesh.fsdp or mesh.tensor, that is take more chips"
    if most == "batch":
        return f"{start}, nearly all of it patches of images: lower image.max_pixels or batch.size, or take more chips"
    if most == "given":
        return f"{start}, images that lie whole on every chip: lower rollout.charts or image.max_pixels"
    if most in ("cache", "output") or step.name != "update":
        return f"{start}: lower rollout.charts, then rollout.group"
    return f"{start}: {_temporaries(step, config, share, room)}"


def _temporaries(step: Step, config: ConfigDict, share: int, room: int) -> str:
    """What makes the temporaries of an update smaller; they grow with the rows of a chip."""
    where = step.compiled.work.largest[0].where if step.compiled.work.largest else ""
    batch, rows, temporaries = config.batch, config.batch.rows // share, step.compiled.memory.temporaries
    if config.model.remat == "none":
        return "set model.remat to blocks"
    if "logits" in where or "target_logprobs" in where:
        return f"lower batch.logit_chunk, now {batch.logit_chunk}"
    if rows > 1 and peak(step) - temporaries + temporaries / rows <= room:
        return f"lower batch.rows to {share} and raise batch.micro_batches to {batch.micro_batches * rows}, now {rows} rows a chip"
    if "attend" in where:
        return (
            f"the scores of attention are the largest arrays ({where}), and one row a chip is too much: lower batch.row_tokens, "
            f"now {batch.row_tokens}, and with it batch.suffixes or rollout.response_tokens"
        )
    return "lower batch.row_tokens or image.max_pixels, or take more chips"
