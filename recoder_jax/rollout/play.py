"""Playing the turns of a batch of charts: sample, execute, reward, feed back, sample again.

The tree has one branching point: turns before `branch_turn` are sampled once a chart, later ones once a row. Nothing here asks
which training stage it serves: branch turn 2 of 2 is the shared first turn, branch turn 1 the full trajectory.
"""

import dataclasses
import time
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from recoder_jax.charts.chart import Chart
from recoder_jax.charts.goldens import Goldens
from recoder_jax.charts.sandbox import Execution, Sandbox
from recoder_jax.dialogue.encoder import Encoder, Tokens, bounded_feedback
from recoder_jax.dialogue.response import Response, parse_response
from recoder_jax.dialogue.turns import Prompts, opening
from recoder_jax.learning.objective import trajectory_reward
from recoder_jax.rewards.mixture import Mixture, Reward
from recoder_jax.rollout.trajectory import Group, Trajectory, Turn
from recoder_jax.sampling.engine import Sampler, row_keys


@dataclasses.dataclass(frozen=True)
class Plan:
    """The shape of a rollout. turns: T. branch_turn: first turn sampled `group` times, in 1..T. response_tokens: cap of a
    response. feedback_tokens: cap of a feedback, image included. temperature: of sampling, 0 is greedy. gamma, eta: weights of
    the first turn's reward and of the rise over it in the trajectory reward."""

    turns: int
    branch_turn: int
    group: int
    response_tokens: int
    feedback_tokens: int
    temperature: float
    gamma: float = 0.0
    eta: float = 0.0

    def __post_init__(self):
        if not 1 <= self.branch_turn <= self.turns:
            raise ValueError(f"rollout.branch_turn is {self.branch_turn}; it must lie in 1..{self.turns} (rollout.turns)")

    def longest_tree(self, prompt: int, suffixes: int) -> int:
        """Tokens of a prefix and `suffixes` of its group when all responses and feedback reach their caps; `prompt` in tokens."""
        before, after = self.branch_turn - 1, self.turns - self.branch_turn
        shared = before * (self.response_tokens + self.feedback_tokens)
        return prompt + shared + min(self.group, suffixes) * ((after + 1) * self.response_tokens + after * self.feedback_tokens)

    def opened(self, number: int, feedback_slots: int) -> tuple[int, int]:
        """Rows a chart and suffix slots a row that the cache opens before turn `number`, which is 1 or the branch turn."""
        shared = number < self.branch_turn
        ahead = (self.branch_turn if shared else self.turns + 1) - number
        slots = ahead * self.response_tokens + (ahead if shared else ahead - 1) * feedback_slots
        return 1 if shared else self.group, slots


@dataclasses.dataclass
class Clock:
    """Seconds spent in a rollout, by what was waited for; programs counts those given to the sandbox."""

    sample: float = 0.0
    execute: float = 0.0
    judge: float = 0.0
    programs: int = 0

    def add(self, name: str, since: float) -> float:
        now = time.perf_counter()
        setattr(self, name, getattr(self, name) + now - since)
        return now


@dataclasses.dataclass(frozen=True)
class Player:
    """Everything that plays dialogues: the sampler, the sandbox, the reward and the texts of the user side.

    reward: None plays without scores. goldens: golden executions by program, filled as charts are met.
    """

    sampler: Sampler
    encoder: Encoder
    sandbox: Sandbox
    reward: Mixture | None
    prompts: Prompts
    goldens: Goldens = dataclasses.field(default_factory=Goldens)

    def play(self, params, charts: Sequence[Chart], plan: Plan, seed: int, step: int, first: int = 0) -> tuple[list[Group], Clock]:
        """Play all turns over all charts in lock step, with the parameters that `sampler.load` made.

        `first` is the index of charts[0] in the step's batch: what a row says is a function of (seed, step, chart, branch, turn).
        """
        clock = Clock()
        prompts = [self.encoder.prompt(opening(chart.image, self.prompts)) for chart in charts]
        start = time.perf_counter()
        cache = self.sampler.start(params, prompts)
        index = first + jnp.arange(len(charts))
        played: list[list[list[Turn]]] = [[[]] for _ in charts]  # [chart][row][turn]
        for number in range(1, plan.turns + 1):
            if number == 1 or number == plan.branch_turn:
                rows, slots = plan.opened(number, self.sampler.buckets.length(plan.feedback_tokens))
                cache = self.sampler.branch(cache, rows, slots)
                played = [[list(chart[0]) for _ in range(rows)] for chart in played]
            keys = row_keys(seed, step, index, number, rows)
            cache, sampled = self.sampler.decode(params, cache, keys, plan.response_tokens, plan.temperature)
            clock.add("sample", start)
            turns = self._execute(charts, sampled, number, plan, clock)
            for b, row in enumerate(turns):
                for g, turn in enumerate(row):
                    played[b][g].append(turn)
            start = time.perf_counter()
            if number < plan.turns:
                cache = self.sampler.append(params, cache, [[turn.feedback for turn in row] for row in turns])
        groups = [self._group(*item, plan) for item in zip(charts, prompts, played, strict=True)]
        return groups, clock

    def _execute(self, charts, sampled, number: int, plan: Plan, clock: Clock) -> list[list[Turn]]:
        """Run every response of a turn in the sandbox and turn it into a Turn, [chart][row]."""
        count, rows = sampled.length.shape
        said = [sampled.tokens[b, g, : sampled.length[b, g]] for b in range(count) for g in range(rows)]
        responses = [parse_response(self.encoder.decode(ids)) for ids in said]
        start = time.perf_counter()
        executions = self._run(charts, [response.program or "" for response in responses], clock)
        start = clock.add("execute", start)
        rewards = self._rewards([chart for chart in charts for _ in range(rows)], responses, executions)
        clock.add("judge", start)
        turns = []
        for i, (ids, response, execution) in enumerate(zip(said, responses, executions, strict=True)):
            b, g = divmod(i, rows)
            ended = bool(sampled.ended[b, g])
            given = None
            if number < plan.turns:
                given = self._feedback(execution, response, ended, plan.feedback_tokens)
            logprobs = sampled.logprobs[b, g, : len(ids)]
            turns.append(Turn(number, ids, logprobs, ended, response, execution, rewards[i], given))
        return [turns[b * rows : (b + 1) * rows] for b in range(count)]

    def _run(self, charts: Sequence[Chart], programs: list[str], clock: Clock) -> list[Execution]:
        """Executions of the programs, and of golden programs not met before; a golden that fails is tried once more."""
        unmet = [] if self.reward is None else [chart.program for chart in charts if chart.program not in self.goldens]
        executions = self.sandbox.execute_all([*unmet, *programs])
        clock.programs += len(unmet) + len(programs)
        for program, golden in zip(unmet, executions, strict=False):
            golden = golden if golden.ok else self.sandbox.execute(program)
            self.goldens[program] = golden
        return executions[len(unmet) :]

    def _rewards(self, charts, responses: list[Response], executions: list[Execution]) -> list[Reward | None]:
        if self.reward is None:
            return [None] * len(responses)
        asked = [self.reward.ask(chart.image, execution) for chart, execution in zip(charts, executions, strict=True)]
        return [
            self.reward(response, execution, self.goldens[chart.program], future and future.result(), chart.image, chart.program)
            for chart, response, execution, future in zip(charts, responses, executions, asked, strict=True)
        ]

    def _feedback(self, execution: Execution, response: Response, ended: bool, limit: int) -> Tokens:
        """Tokens between a response and the next one; they close a response that was cut."""
        log = execution.log if response.program is not None else "no python block found in the response"
        end = Tokens(np.array([] if ended else [self.encoder.end_id], np.int32))
        return end + bounded_feedback(self.encoder, execution.render, log, self.prompts, limit - len(end))

    def _group(self, chart: Chart, prompt: Tokens, rows: list[list[Turn]], plan: Plan) -> Group:
        def total(turn: Turn) -> float:
            return turn.reward.total if turn.reward else 0.0

        def complete(turns: list[Turn]) -> bool:
            counted = [turns[0], turns[-1]] if plan.gamma or plan.eta else [turns[-1]]
            return not any(turn.reward and turn.reward.missing for turn in counted)

        trajectories = tuple(
            Trajectory(tuple(turns), trajectory_reward(total(turns[0]), total(turns[-1]), plan.gamma, plan.eta), complete(turns))
            for turns in rows
        )
        return Group(chart, prompt, plan.branch_turn, trajectories)
