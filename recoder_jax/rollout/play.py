"""Playing dialogues: sample, execute, reward, feed back, sample again, with the host's work behind the device's.

The tree has one branching point: turns before `branch_turn` are sampled once a chart, later ones once a row. Nothing here asks
which training stage it serves: branch turn 2 of 2 is the shared first turn, branch turn 1 the full trajectory. With `branching` 'each' the
charts of a batch branch at different turns, in rotation: what a row says depends on its own tree alone.

    main thread       engine.step ──────────► engine.step ──────────► engine.step ──────► ...     one chunk is always on the device
                        │ a row ended            ▲ its feedback is read, and it goes on
    host threads        └► text, program ─┐  ┌─► feedback, judge asked, rule scored
    sandbox                               └► execution                └► judge

A row that waits for a slow program delays only itself. Groups come back in the order of their charts.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

from recoder_jax.charts.chart import Chart
from recoder_jax.charts.goldens import Goldens
from recoder_jax.charts.sandbox import Sandbox
from recoder_jax.dialogue.encoder import Encoder, Tokens, check_difference
from recoder_jax.dialogue.turns import Prompts, opening
from recoder_jax.languages.language import Language
from recoder_jax.languages.python import LANGUAGE as PYTHON
from recoder_jax.learning.objective import overlong, trajectory_reward
from recoder_jax.rewards.mixture import Mixture
from recoder_jax.rollout.fences import Fences
from recoder_jax.rollout.host import Host, Speaker
from recoder_jax.rollout.trajectory import Group, Trajectory, Turn
from recoder_jax.sampling.drawing import Controls
from recoder_jax.sampling.engine import Engine
from recoder_jax.sampling.functions import Room, Sampler, largest, room_for
from recoder_jax.sampling.places import Request
from recoder_jax.sampling.timeline import DEVICE, HOST, Span, Timeline, covered, overlap, seconds

@dataclasses.dataclass(frozen=True)
class Plan:
    """The shape of a rollout. turns: T. branch_turn: first turn sampled `group` times, in 1..T. branching: 'one', where every chart branches at
    branch_turn, or 'each', where charts branch at branch_turn..T in rotation. response_tokens: cap of a response. feedback_tokens: cap of a
    feedback, images included. difference: whether feedback shows where render and target differ. temperature: of sampling, 0 is greedy.
    gamma, eta, bonus: the trajectory reward (learning.objective). overlong_tokens, overlong_penalty: a trained response that comes nearer to its
    cap than that is punished by at most that. stop_at_fence: a response is cut where its block is closed."""

    turns: int
    branch_turn: int
    group: int
    response_tokens: int
    feedback_tokens: int
    temperature: float
    gamma: float = 0.0
    eta: float = 0.0
    stop_at_fence: bool = False
    branching: str = "one"
    difference: bool = False
    bonus: str = "rise"
    overlong_tokens: int = 0
    overlong_penalty: float = 0.0

    def __post_init__(self):
        if not 1 <= self.branch_turn <= self.turns:
            raise ValueError(f"rollout.branch_turn is {self.branch_turn}; it must lie in 1..{self.turns} (rollout.turns)")

    @property
    def branch_turns(self) -> range:
        """Turns at which some chart branches."""
        return range(self.branch_turn, self.turns + 1 if self.branching == "each" else self.branch_turn + 1)

    def branch_turn_of(self, step: int, chart: int, charts: int) -> int:
        """The turn at which chart number `chart` of `charts` branches in a step."""
        return self.branch_turns[(step * charts + chart) % len(self.branch_turns)]

    def punishment(self, responses: Sequence[int]) -> float:
        """Mean punishment of responses of these lengths for coming near their cap, at most 0."""
        if not self.overlong_tokens:
            return 0.0
        return self.overlong_penalty * sum(overlong(tokens, self.response_tokens, self.overlong_tokens) for tokens in responses) / len(responses)

    def longest_tree(self, prompt: int, suffixes: int) -> int:
        """Tokens of a prefix and `suffixes` of its group when all responses and feedback reach their caps; `prompt` in tokens. Of all trees of a
        rollout, one that branches first is the longest: every suffix has the turns that a later one would share."""
        before, after = self.branch_turn - 1, self.turns - self.branch_turn
        shared = before * (self.response_tokens + self.feedback_tokens)
        return prompt + shared + min(self.group, suffixes) * ((after + 1) * self.response_tokens + after * self.feedback_tokens)


@dataclasses.dataclass(frozen=True)
class Slots:
    """How a rollout lies on the devices. places: charts side by side. seats: rows side by side, 0 is the group of each place. lanes: prompts or feedbacks read in one call. chunk: tokens decoded
    between two looks at who ended. int8: whether keys and values are held in a byte each."""

    places: int = 16
    lanes: int = 8
    chunk: int = 16
    int8: bool = False
    seats: int = 0


@dataclasses.dataclass(frozen=True)
class Place:
    """Which charts of a step are played together. numbers: of each in the step, from 0; they decide what is said. charts: of the step before
    any are refilled, over all processes. most: charts that this process ever plays together, which is what the cache has room for."""

    numbers: Sequence[int]
    charts: int
    most: int

    @classmethod
    def alone(cls, count: int) -> "Place":
        """All charts of a step."""
        return cls(range(count), count, count)


@dataclasses.dataclass(frozen=True)
class Times:
    """What went on in a rollout. programs: given to the sandbox."""

    spans: list[Span]
    programs: int

    def __add__(self, other: "Times") -> "Times":
        return Times([*self.spans, *other.spans], self.programs + other.programs)

    def metrics(self) -> dict[str, float]:
        """Seconds in which the device worked, a program ran, the judge had a question; and the share of the host's that lay behind the
        device's work."""
        device, host = covered(self.spans, *DEVICE), covered(self.spans, *HOST)
        execute, judge = seconds(covered(self.spans, "execute")), seconds(covered(self.spans, "judge"))
        metrics = {"time/sample": seconds(device), "time/execute": execute, "process/hidden_share": overlap(device, host) / max(seconds(host), 1e-9)}
        metrics |= {"throughput/executions_per_s": self.programs / max(execute, 1e-9)}
        return metrics | ({"time/judge": judge} if judge else {})


@dataclasses.dataclass(frozen=True)
class Player:
    """Everything that plays dialogues: the sampler, the sandbox, the reward and the texts of the user side.

    reward: None plays without scores. goldens: golden executions by program, filled as charts are met. language: of the
    programs, which `sandbox` and `prompts` are made for.
    """

    sampler: Sampler
    encoder: Encoder
    sandbox: Sandbox
    reward: Mixture | None
    prompts: Prompts
    goldens: Goldens = dataclasses.field(default_factory=Goldens)
    slots: Slots = Slots()
    language: Language = PYTHON

    def play(
        self, params, charts: Sequence[Chart], plan: Plan, seed: int, step: int, controls: Controls | None = None,
        done: Callable[[], None] = lambda: None, place: Place | None = None,
    ) -> tuple[list[Group], Times]:
        """Play all turns over all charts, with the parameters that `sampler.load` made; what a row says is a function of (seed, step, chart,
        branch, turn), chart being its number in the step.

        controls: of sampling, by default of `plan.temperature`. done: called whenever a chart's dialogues have ended. place: of the charts in
        the step, by default all of it.
        """
        place = Place.alone(len(charts)) if place is None else place
        controls = Controls(temperature=plan.temperature) if controls is None else controls
        if plan.difference:
            check_difference(self.encoder, self.prompts, plan.feedback_tokens)
        prompts = [self.encoder.prompt(opening(chart.shown, self.prompts, chart.instruction)) for chart in charts]
        longest = max(self.longest_prompt(prompt) for prompt in prompts)
        room, timeline = room_of(self.sampler, self.slots, plan, longest, place.most, controls), Timeline()
        engine = Engine(self.sampler, params, room, timeline)
        requests = [
            Request(prompt, (seed, step, number), plan.response_tokens, plan.group, plan.branch_turn_of(step, number, place.charts) - 1, controls)
            for number, prompt in zip(place.numbers, prompts, strict=True)
        ]  # fmt: skip
        speaker = Speaker(self.encoder, self.prompts, plan.turns, plan.feedback_tokens, plan.difference, self.language)
        with Host(speaker, self.sandbox, self.reward, self.goldens, timeline) as host:
            for request, chart in zip(requests, charts, strict=True):
                engine.submit(request)
                host.meet(chart)
            run(engine, host, dict(zip(place.numbers, charts, strict=True)), plan, Fences(self.encoder, self.language) if plan.stop_at_fence else None, done)
            del engine  # its cache need not lie beside that of a judge in this process
            turns = host.finish()
        groups = [self._group(chart, request, turns, plan) for chart, request in zip(charts, requests, strict=True)]
        return groups, Times(timeline.close(), host.programs)

    def longest_prompt(self, prompt: Tokens) -> int:
        """Tokens of a prompt with the same text and an image of the largest size."""
        return max(len(prompt), len(prompt) - sum(image.merged for image in prompt.images) + self.encoder.processor.max_pixels // 28**2)

    def _group(self, chart: Chart, request: Request, turns: dict[tuple[int, int, int], Turn], plan: Plan) -> Group:
        def total(turn: Turn) -> float:
            return turn.reward.total if turn.reward else 0.0

        def complete(turns: Sequence[Turn]) -> bool:
            counted = [turns[0], turns[-1]] if plan.gamma or plan.eta else [turns[-1]]
            return not any(turn.reward and turn.reward.missing for turn in counted)

        trajectories, index, shared = [], request.identity[2], request.shared
        for row in range(plan.group):
            own = tuple(turns[index, row if number > shared else 0, number] for number in range(1, plan.turns + 1))
            reward = trajectory_reward(total(own[0]), total(own[-1]), plan.gamma, plan.eta, plan.bonus)
            reward += plan.punishment([len(turn.tokens) for turn in own[shared:]])
            trajectories.append(Trajectory(own, reward, complete(own)))
        return Group(chart, request.prompt, shared + 1, tuple(trajectories))


def room_of(sampler: Sampler, slots: Slots, plan: Plan, prompt: int, charts: int, controls: Controls = Controls()) -> Room:
    """The cache for dialogues over `charts` charts with prompts of at most `prompt` tokens, wherever a chart branches; places, seats and lanes
    are rounded up to a multiple of the devices they lie over, and a device has at least a group of seats."""

    def even(count: int) -> int:
        return -(-count // sampler.shards) * sampler.shards

    places = even(min(slots.places, charts))
    return largest(
        room_for(
            places, plan.group, plan.turns, branch_turn - 1, prompt, plan.response_tokens, plan.feedback_tokens,
            even(min(slots.lanes, places * plan.group)), slots.chunk, sampler.buckets, penalised=controls.penalty != 1,
            int8=slots.int8, seats=slots.seats and max(even(slots.seats), plan.group * sampler.shards),
        )
        for branch_turn in plan.branch_turns
    )  # fmt: skip


def run(engine: Engine, host: Host, charts: Mapping[int, Chart], plan: Plan, fences: Fences | None, done: Callable[[], None]) -> None:
    """Until every row of every chart, by its number, has said its last turn and its program has ended."""
    left = dict.fromkeys(charts, plan.group)
    while left:
        ended = engine.step(hold=host.behind)
        for said in fences.cut(engine, ended) if fences else ended:
            host.hear(said, charts[said.request.identity[2]])
        for said, piece in host.heard(wait=not engine.flying):
            if piece is not None:
                engine.feed(said.request, said.row, piece)
                continue
            engine.release(said.request, said.row)
            index = said.request.identity[2]
            left[index] -= 1
            if not left[index]:
                del left[index]
                done()
