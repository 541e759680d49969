"""What an update learns from: given responses (SFT) or the policy's own rewarded dialogues (RL), as trees of tokens.

A lesson is a function of (parameters, seed, step, start), start being the charts or dialogues of the data order that were consumed before, so
a resumed run meets the same lessons as one that never stopped.
"""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import jax
import numpy as np
from ml_collections import ConfigDict

from recoder_jax.charts.scores import same_program
from recoder_jax.data.examples import Example
from recoder_jax.data.pipeline import Pipeline
from recoder_jax.data.sources import check_language, join, open_charts, open_examples
from recoder_jax.dialogue.encoder import Encoder, bounded_feedback, check_difference
from recoder_jax.dialogue.turns import Prompts, opening, prompts_of
from recoder_jax.languages.language import find
from recoder_jax.learning.batch import Tree, split_tree
from recoder_jax.learning.objective import group_advantages
from recoder_jax.learning.rarity import Rarity, count, emphasised
from recoder_jax.processes import agreed, gathered
from recoder_jax.rollout.anchors import Anchor, valued
from recoder_jax.rollout.measure import advantage_metrics, alarms, dialogue_records, not_finite, rollout_metrics, without_incomplete
from recoder_jax.rollout.play import Place, Plan, Player, Times, room_of
from recoder_jax.rollout.tally import Tally, mean
from recoder_jax.rollout.trajectory import Group, supervised_tree
from recoder_jax.runs.directory import RunDirectory
from recoder_jax.runs.records import DialogueRecord
from recoder_jax.sampling.timeline import Span

COUNTED = 2048  # most dialogues whose tokens are counted for `objective.rare`
EQUAL = 1e-9  # rewards of a group that lie no farther apart say nothing


@dataclasses.dataclass(frozen=True)
class Lesson:
    """What one update learns from: trees of tokens, metrics of how they came about, dialogues to keep, sentences about what somebody should
    look at, and when device and host worked. stop: charts (RL) or dialogues (SFT) of the data order consumed after it. charts: their ids.
    fault: the first reward that is not finite, in words. own: seconds in which this process worked on it alone, waiting for no other."""

    trees: list[Tree]
    metrics: dict[str, float]
    stop: int
    charts: tuple[str, ...] = ()
    records: Callable[[], list[DialogueRecord]] | None = None
    alarms: tuple[str, ...] = ()
    spans: Sequence[Span] = ()
    fault: str | None = None
    own: float = 0.0


def all_records(records: Sequence[DialogueRecord]) -> list[DialogueRecord]:
    """The dialogues of all processes, in the order of charts within each. All of them call it."""
    if jax.process_count() == 1:
        return list(records)
    return [DialogueRecord.from_json(data) for own in gathered([record.to_json() for record in records]) for data in own]


class SupervisedLessons:
    """Given responses. The next batch is prepared while the device works on this one. Dialogues longer than a row are left out."""

    def __init__(self, config: ConfigDict, encoder: Encoder):
        data, sets = config.data, [f"{config.data.name}:{config.data.split}", *filter(None, config.data.mixed_with.split(","))]
        sources = [open_examples(data.dir, *entry.split(":", 1), data.trained_turns) for entry in sets]
        check_language(data.dir, data.name, data.language)
        self._pipeline = Pipeline(join(sources), config.batch.size, config.seed, jax.process_index(), jax.process_count())
        self._encoder, self._steps = encoder, config.steps
        self._limit, self._row_tokens, self._size = config.rollout.feedback_tokens, config.batch.row_tokens, config.batch.size
        self._difference = config.rollout.difference
        if self._difference:
            check_difference(encoder, Prompts(), self._limit)
        self._rare, self._rare_most = config.objective.rare, config.objective.rare_most
        self._rarity = rarity_of(join(sources), encoder) if self._rare else None
        self._pool, self._ahead = ThreadPoolExecutor(1), {}

    def __call__(self, params, step: int, start: int) -> Lesson:
        began = time.perf_counter()
        charts, trees = (self._ahead.pop(start, None) or self._pool.submit(self._batch, start)).result()
        own = time.perf_counter() - began
        stop = start + self._size
        if step + 1 < self._steps:
            self._ahead[stop] = self._pool.submit(self._batch, stop)
        fitting = [tree for tree in trees if tree.size <= self._row_tokens]
        if not agreed(bool(fitting)):
            raise ValueError(f"no dialogue of batch {step} fits a row of {self._row_tokens} tokens; raise batch.row_tokens")
        return Lesson(fitting, {"batch/too_long": float(sum(gathered(len(trees) - len(fitting))))}, stop, charts, own=own)

    def _batch(self, start: int) -> tuple[tuple[str, ...], list[Tree]]:
        """Ids and trees of a batch, those too long for a row included."""
        examples = self._pipeline.span(start, self._size)
        trees = [example_tree(example, self._encoder, prompts_of(find(example.language)), self._limit, self._difference) for example in examples]
        trees = [emphasised(tree, self._rarity, self._rare, self._rare_most) for tree in trees] if self._rarity else trees
        return tuple(example.chart.id for example in examples), trees


def rarity_of(source: Sequence[Example], encoder: Encoder) -> Rarity:
    """Counts the trained responses of at most COUNTED dialogues that lie evenly over `source`."""
    chosen = range(0, len(source), -(-len(source) // COUNTED))
    examples = (source[index] for index in chosen)
    responses = (text for one in examples for text, trained in zip(one.responses, one.trained, strict=True) if trained)
    return count((encoder.response(text).ids for text in responses), encoder.vocab_size)


def example_tree(example: Example, encoder: Encoder, prompts: Prompts, limit: int, difference: bool = False) -> Tree:
    """An SFT dialogue in tokens: prompt, response, feedback, response, ... limit, difference: of `rollout.host.Speaker`."""
    parts = []
    for turn, (text, trained) in enumerate(zip(example.responses, example.trained, strict=True)):
        parts.append((encoder.response(text), trained))
        if turn < len(example.feedbacks):
            target = example.chart.image if difference else None
            parts.append((bounded_feedback(encoder, *example.feedbacks[turn], prompts, limit, target), False))
    return supervised_tree(encoder.prompt(opening(example.chart.shown, prompts, example.chart.instruction)), parts)


@dataclasses.dataclass(frozen=True)
class Played:
    """Groups of a step. useful: those an update learns from. times: of all rounds. consumed: charts of the data order, over all processes.
    own: seconds of playing."""

    groups: list[Group]
    useful: list[Group]
    times: Times
    consumed: int
    own: float


class RolloutLessons:
    """The policy's own dialogues, rewarded. room: what their cache holds, at the longest. anchor: KL to a reference, where it has a weight."""

    def __init__(self, config: ConfigDict, player: Player, plan: Plan, run: RunDirectory, anchor: Anchor | None = None):
        source = open_charts(config.data.dir, config.data.name, config.data.split, config.data.keep, config.data.language)
        self._pipeline = Pipeline(source, config.batch.size, config.seed, jax.process_index(), jax.process_count())
        self._config, self._player, self._run, self._plan, self._anchor = config, player, run, plan, anchor
        if plan.difference:
            check_difference(player.encoder, player.prompts, plan.feedback_tokens)
        prompt = player.encoder.prompt(opening(source[0].shown, player.prompts, source[0].instruction))
        self.room = room_of(player.sampler, player.slots, plan, player.longest_prompt(prompt), -(-config.batch.size // jax.process_count()))
        longest = plan.longest_tree(player.longest_prompt(prompt), config.batch.suffixes)
        if longest > config.batch.row_tokens:
            raise ValueError(
                f"a group may take {longest} tokens but batch.row_tokens is {config.batch.row_tokens}; "
                "raise it, or lower batch.suffixes or rollout.response_tokens"
            )

    def __call__(self, params, step: int, start: int) -> Lesson:
        began, objective = time.perf_counter(), self._config.objective
        played = self._play(params, step, start)
        groups, total = played.groups, time.perf_counter() - began
        rewards = np.array([group.rewards for group in groups]).reshape(-1, self._plan.group)
        trees = [split_tree(group.tree([0.0] * self._plan.group), self._config.batch.suffixes) for group in played.useful]
        tally = rollout_metrics(groups, same_program) + Tally(sums={"rollout/played": len(groups), "rollout/used": len(trees)})
        if self._anchor:
            trees = self._anchor.tied(played.useful, trees)
            if self._anchor.in_reward:  # then every group is useful
                penalties = self._anchor.penalties(trees)
                rewards, tally = rewards - penalties, tally + Tally(means={"reward/kl": mean(penalties.ravel())})
        advantages = np.asarray(group_advantages(rewards, objective.normalize_std, objective.baseline))
        if self._config.reward.on_missing == "drop_group":
            advantages, dropped = without_incomplete(groups, advantages)
            tally += dropped
        tally = sum((Tally.of(plain) for plain in gathered(dataclasses.asdict(tally + advantage_metrics(advantages)))), Tally())
        metrics = tally.values() | played.times.metrics() | {"time/rollout": total}
        metrics["throughput/sampled_tokens_per_s"] = metrics["sampling/tokens"] / total
        metrics["process/compilations"] = float(self._player.sampler.compilations)
        rows = [row for group, row in zip(groups, advantages, strict=True) if any(group is one for one in played.useful)]
        return Lesson(
            [tree for parts, row in zip(trees, rows, strict=True) for tree in valued(parts, row)], metrics, start + played.consumed,
            tuple(group.chart.id for group in groups), lambda: dialogue_records(groups, advantages, step + 1, self._run.store_render),
            tuple(alarms(groups)), played.times.spans, not_finite(groups), played.own,
        )

    def _play(self, params, step: int, start: int) -> "Played":
        """The charts of a step, and with `rollout.refills` those that follow them in the place of groups whose rewards are all equal, as far as
        that many rounds give them: dynamic sampling, DAPO (arXiv 2503.14476, section 3.2). Each round plays as many charts as are missing."""
        wanted, refills = self._config.batch.size, self._config.rollout.refills
        player = dataclasses.replace(self._player, reward=self._player.reward.at(step))
        params, own = self._player.sampler.load(params), self._player.sampler.mesh
        groups, times, consumed, missing, own_seconds = [], Times([], 0), 0, wanted, 0.0
        for _ in range(1 + refills):
            charts = self._pipeline.span(start + consumed, missing)
            numbers = range(consumed + jax.process_index(), consumed + missing, jax.process_count())
            if charts:
                place = Place(numbers, wanted, -(-wanted // jax.process_count()))
                with jax.set_mesh(own) if jax.process_count() > 1 else contextlib.nullcontext():
                    began = time.perf_counter()
                    more, spent = player.play(params, charts, self._plan, self._config.seed, step, place=place)
                groups, times, own_seconds = groups + more, times + spent, own_seconds + time.perf_counter() - began
            consumed += missing
            useful = [group for group in groups if np.ptp(group.rewards) > EQUAL] if refills else groups
            missing = wanted - sum(gathered(len(useful)))
            if missing <= 0:
                break
        return Played(groups, useful if missing < wanted else groups, times, consumed, own_seconds)
