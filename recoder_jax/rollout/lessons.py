"""What an update learns from: given responses (SFT) or the policy's own rewarded dialogues (RL), as trees of tokens.

A lesson is a function of (parameters, seed, step, start), start being the charts or dialogues of the data order that were consumed before, so
a resumed run meets the same lessons as one that never stopped.
"""

import dataclasses
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from ml_collections import ConfigDict

from recoder_jax.charts.scores import same_program
from recoder_jax.data.examples import Example
from recoder_jax.data.pipeline import Pipeline
from recoder_jax.data.sources import join, open_charts, open_examples
from recoder_jax.dialogue.encoder import Encoder, bounded_feedback
from recoder_jax.dialogue.turns import Prompts, opening
from recoder_jax.learning.batch import Tree, split_tree
from recoder_jax.learning.objective import group_advantages
from recoder_jax.rollout.measure import alarms, dialogue_records, not_finite, rollout_metrics, without_incomplete
from recoder_jax.rollout.play import Plan, Player, room_of
from recoder_jax.rollout.trajectory import supervised_tree
from recoder_jax.runs.directory import RunDirectory
from recoder_jax.runs.records import DialogueRecord
from recoder_jax.sampling.timeline import Span


@dataclasses.dataclass(frozen=True)
class Lesson:
    """What one update learns from: trees of tokens, metrics of how they came about, dialogues to keep, sentences about what somebody should
    look at, and when device and host worked. stop: charts (RL) or dialogues (SFT) of the data order consumed after it. charts: their ids.
    fault: the first reward that is not finite, in words."""

    trees: list[Tree]
    metrics: dict[str, float]
    stop: int
    charts: tuple[str, ...] = ()
    records: Callable[[], list[DialogueRecord]] | None = None
    alarms: tuple[str, ...] = ()
    spans: Sequence[Span] = ()
    fault: str | None = None


class SupervisedLessons:
    """Given responses. The next batch is prepared while the device works on this one. Dialogues longer than a row are left out."""

    def __init__(self, config: ConfigDict, encoder: Encoder):
        data, sets = config.data, [f"{config.data.name}:{config.data.split}", *filter(None, config.data.mixed_with.split(","))]
        sources = [open_examples(data.dir, *entry.split(":", 1), data.trained_turns) for entry in sets]
        self._pipeline = Pipeline(join(sources), config.batch.size, config.seed)
        self._encoder, self._prompts, self._steps = encoder, Prompts(), config.steps
        self._limit, self._row_tokens, self._size = config.rollout.feedback_tokens, config.batch.row_tokens, config.batch.size
        self._pool, self._ahead = ThreadPoolExecutor(1), {}

    def __call__(self, params, step: int, start: int) -> Lesson:
        charts, trees = (self._ahead.pop(start, None) or self._pool.submit(self._batch, start)).result()
        stop = start + self._size
        if step + 1 < self._steps:
            self._ahead[stop] = self._pool.submit(self._batch, stop)
        fitting = [tree for tree in trees if tree.size <= self._row_tokens]
        if not fitting:
            raise ValueError(f"no dialogue of batch {step} fits a row of {self._row_tokens} tokens; raise batch.row_tokens")
        return Lesson(fitting, {"batch/too_long": float(len(trees) - len(fitting))}, stop, charts)

    def _batch(self, start: int) -> tuple[tuple[str, ...], list[Tree]]:
        """Ids and trees of a batch, those too long for a row included."""
        examples = self._pipeline.span(start, self._size)
        return tuple(e.chart.id for e in examples), [example_tree(e, self._encoder, self._prompts, self._limit) for e in examples]


def example_tree(example: Example, encoder: Encoder, prompts: Prompts, limit: int) -> Tree:
    """An SFT dialogue in tokens: prompt, response, feedback, response, ..."""
    parts = []
    for turn, (text, trained) in enumerate(zip(example.responses, example.trained, strict=True)):
        parts.append((encoder.response(text), trained))
        if turn < len(example.feedbacks):
            parts.append((bounded_feedback(encoder, *example.feedbacks[turn], prompts, limit), False))
    return supervised_tree(encoder.prompt(opening(example.chart.image, prompts)), parts)


class RolloutLessons:
    """The policy's own dialogues, rewarded. room: what their cache holds, at the longest."""

    def __init__(self, config: ConfigDict, player: Player, plan: Plan, run: RunDirectory):
        source = open_charts(config.data.dir, config.data.name, config.data.split, config.data.keep)
        self._pipeline = Pipeline(source, config.batch.size, config.seed)
        self._config, self._player, self._run, self._plan = config, player, run, plan
        prompt = player.encoder.prompt(opening(source[0].image, player.prompts))
        self.room = room_of(player.sampler, player.slots, plan, player.longest_prompt(prompt), config.batch.size)
        longest = plan.longest_tree(player.longest_prompt(prompt), config.batch.suffixes)
        if longest > config.batch.row_tokens:
            raise ValueError(
                f"a group may take {longest} tokens but batch.row_tokens is {config.batch.row_tokens}; "
                "raise it, or lower batch.suffixes or rollout.response_tokens"
            )

    def __call__(self, params, step: int, start: int) -> Lesson:
        began = time.perf_counter()
        player = dataclasses.replace(self._player, reward=self._player.reward.at(step))
        params = self._player.sampler.load(params)
        charts = self._pipeline.span(start, self._config.batch.size)
        groups, times = player.play(params, charts, self._plan, self._config.seed, step)
        total = time.perf_counter() - began
        rewards = np.array([group.rewards for group in groups])
        objective = self._config.objective
        advantages = np.asarray(group_advantages(rewards, objective.normalize_std, objective.baseline))
        metrics = rollout_metrics(groups, same_program)
        if self._config.reward.on_missing == "drop_group":
            advantages, metrics["reward/dropped_groups"] = without_incomplete(groups, advantages)
        metrics |= times.metrics() | {"time/rollout": total, "throughput/sampled_tokens_per_s": metrics["sampling/tokens"] / total}
        metrics["process/compilations"] = float(self._player.sampler.compilations)
        whole = [group.tree(row) for group, row in zip(groups, advantages, strict=True)]
        trees = [tree for group in whole for tree in split_tree(group, self._config.batch.suffixes)]
        return Lesson(
            trees, metrics, start + self._config.batch.size, tuple(chart.id for chart in charts),
            lambda: dialogue_records(groups, advantages, step + 1, self._run.store_render), tuple(alarms(groups)), times.spans, not_finite(groups),
        )
