"""A plan as text and as JSON."""

import dataclasses

from recoder_jax.planning.machines import GIB, Chip
from recoder_jax.planning.steps import Planned, Step
from recoder_jax.planning.verdict import ASSUMPTIONS, Time, first_knob, fits, peak, time_of


@dataclasses.dataclass(frozen=True)
class Plan:
    """A config's steps on a machine. topology: None for the local devices. chip: None for a kind without a row in the table."""

    topology: str | None
    planned: Planned
    steps: tuple[Step, ...]
    chip: Chip | None
    notes: tuple[str, ...] = ()

    @property
    def chips(self) -> int:
        return self.planned.mesh.size

    @property
    def fits(self) -> bool:
        return all(fits(step, self.chip) for step in self.steps)

    @property
    def share(self) -> int:
        return self.planned.mesh.shape["data"] * self.planned.mesh.shape["fsdp"]

    @property
    def room(self) -> int:
        return self.chip.memory if self.chip else 0

    def times(self) -> dict[str, Time | None]:
        return {step.name: time_of(step, self.chip, self.chips) for step in self.steps}

    def seconds(self, update: bool) -> float | None:
        """Seconds of an update, or of the rollout before it, at the roofline."""
        times = self.times()
        chosen = [step for step in self.steps if (step.name == "update") == update]
        if not chosen or any(times[step.name] is None for step in chosen):
            return None
        return sum(step.runs * times[step.name].seconds for step in chosen)


def as_json(plan: Plan) -> dict:
    """The plan in plain types; bytes are a chip's, FLOPs of all chips."""
    times = plan.times()
    mesh = dict(plan.planned.mesh.shape)
    chip = dataclasses.asdict(plan.chip) if plan.chip else None
    return {
        "config": plan.planned.config.name, "topology": plan.topology, "chips": plan.chips, "chip": chip, "mesh": mesh, "fits": plan.fits,
        "parameters": plan.planned.policy.config.parameters(), "notes": list(plan.notes), "assumptions": " ".join(ASSUMPTIONS.split()),
        "update_seconds": plan.seconds(True), "rollout_seconds": plan.seconds(False),
        "steps": [_step_json(step, plan, times[step.name]) for step in plan.steps],
    }


def _step_json(step: Step, plan: Plan, time: Time | None) -> dict:
    compiled = step.compiled
    row = {
        "name": step.name, "runs": step.runs, "tokens": step.tokens, "fits": fits(step, plan.chip), "peak_bytes": peak(step),
        "beside_bytes": step.beside, "memory": dataclasses.asdict(compiled.memory), "held_bytes": compiled.held,
        "program_flops": compiled.work.flops, "rule_flops": step.rule_flops, "cost_model": {"flops": compiled.cost_flops, "bytes": compiled.cost_bytes},
        "largest": [dataclasses.asdict(array) for array in compiled.work.largest], "compile_seconds": compiled.seconds,
        "traffic": dataclasses.asdict(compiled.traffic) if compiled.traffic else None, "refused": compiled.refused,
    }
    if time is not None:
        row["time"] = dataclasses.asdict(time) | {"seconds": time.seconds, "bound": time.bound}
        row["tokens_per_second"] = step.tokens / time.seconds if time.seconds else None
    if not row["fits"]:
        row["first_knob"] = first_knob(step, plan.planned.config, plan.share, plan.room)
    return row


def as_text(plan: Plan) -> str:
    mesh, chip = plan.planned.mesh.shape, plan.chip
    each = f"{chip.name}, {chip.memory / GIB:.2f} GiB each" if chip else f"{plan.planned.mesh.devices.flat[0].device_kind}, memory not in the table"
    policy = plan.planned.policy.config
    lines = [
        f"{plan.planned.config.name} on {plan.topology or 'the local devices'}: {plan.chips} x {each}; "
        f"mesh data {mesh['data']} x fsdp {mesh['fsdp']} x tensor {mesh['tensor']}; {policy.parameters() / 1e6:,.1f} M parameters",
        *(f"note: {note}" for note in plan.notes), "", "GiB a chip", _memory_table(plan), "", "all chips", _work_table(plan), "",
    ]
    for step in plan.steps:
        lines += _details(step, plan)
    for update, name in ((False, "rollout"), (True, "update")):
        seconds = plan.seconds(update)
        if seconds is not None:
            unknown = any(step.compiled.refused for step in plan.steps if (step.name == "update") == update)
            lines.append(f"{name} of batch.size {plan.planned.config.batch.size}: {seconds:.4g} s at the roofline{' or more' if unknown else ''}")
    lines += ["", ASSUMPTIONS, "", "fits" if plan.fits else "does not fit"]
    return "\n".join(lines)


def _memory_table(plan: Plan) -> str:
    rows = [("step", "arguments", "temporaries", "output", "aliased", "code", "beside", "peak", "fits")]
    for step in plan.steps:
        memory = step.compiled.memory
        amounts = (memory.arguments, memory.temporaries, memory.output, memory.aliased, memory.code, step.beside, peak(step))
        rows.append((step.name, *(f"{amount / GIB:.3f}" for amount in amounts), "yes" if fits(step, plan.chip) else "no"))
    return table(rows)


def _work_table(plan: Plan) -> str:
    rows = [("step", "runs", "tokens", "program FLOP", "rule FLOP", "cost model a chip", "bound", "seconds", "tokens/s")]
    for step in plan.steps:
        compiled, time = step.compiled, time_of(step, plan.chip, plan.chips)
        model = f"{compiled.cost_flops:.3g} FLOP {compiled.cost_bytes:.3g} B"
        spent = (time.bound, f"{time.seconds:.4g}", f"{step.tokens / time.seconds:,.0f}") if time and time.seconds else ("-", "-", "-")
        rows.append((step.name, str(step.runs), f"{step.tokens:,}", f"{compiled.work.flops:.3g}", f"{step.rule_flops:.3g}", model, *spent))
    return table(rows)


def _details(step: Step, plan: Plan) -> list[str]:
    """Traffic of a step, its largest arrays, and what to do where it does not fit."""
    compiled, lines = step.compiled, []
    if compiled.traffic:
        moved = ", ".join(
            f"{kind} {compiled.traffic.counts[kind]} x, {amount / GIB:.3g} GiB" for kind, amount in sorted(compiled.traffic.collectives.items())
        )
        open_loops = f"; {compiled.traffic.open_loops} loop of unknown length counted once" if compiled.traffic.open_loops else ""
        lines.append(f"{step.name}: memory traffic {compiled.traffic.memory / GIB:.3g} GiB a chip; sent a chip: {moved or 'nothing'}{open_loops}")
    if not fits(step, plan.chip):
        arrays = "; ".join(f"{array.shape} {array.bytes / GIB:.1f} GiB at {array.where}" for array in compiled.work.largest[:3])
        lines += [f"{step.name}: {compiled.refused}"] if compiled.refused else []
        lines += [f"{step.name}: largest arrays, all chips: {arrays}", f"{step.name}: {first_knob(step, plan.planned.config, plan.share, plan.room)}"]
    return lines


def over_topologies(plans: list[Plan]) -> str:
    """One row a topology."""
    rows = [("topology", "chips", "fits", "fullest step", "GiB a chip", "of", "rollout s", "update s", "update bound")]
    for plan in plans:
        fullest, times = max(plan.steps, key=peak), plan.times()
        seconds = [f"{value:.4g}" if (value := plan.seconds(update)) is not None else "-" for update in (False, True)]
        bound = times["update"].bound if times.get("update") else "-"
        of = f"{plan.chip.memory / GIB:.2f}" if plan.chip else "-"
        rows.append((plan.topology, str(plan.chips), "yes" if plan.fits else "no", fullest.name, f"{peak(fullest) / GIB:.2f}", of, *seconds, bound))
    return table(rows)


def table(rows: list[tuple[str, ...]]) -> str:
    """Columns aligned, the first to the left."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  ".join(cell.rjust(width) if column else cell.ljust(width) for column, (cell, width) in enumerate(zip(row, widths))) for row in rows)
