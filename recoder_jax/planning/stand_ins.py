"""Stand-ins for what a run meets when every image, response and feedback reaches its cap: only their sizes are read."""

import dataclasses
import itertools
import math
from collections.abc import Iterator

import numpy as np
from ml_collections import ConfigDict

from recoder_jax import factory
from recoder_jax.dialogue.encoder import Encoder, Tokens, bounded_feedback
from recoder_jax.dialogue.turns import opening, prompts_of
from recoder_jax.languages.language import find
from recoder_jax.learning.batch import Strand, Tree, split_tree, strand


@dataclasses.dataclass(frozen=True)
class StandIns:
    """prompt: with an image, of 4 : 3 at `image.max_pixels` where no size is given. feedback: with a render of that size, and
    its difference where the config shows one, `rollout.feedback_tokens` long."""

    prompt: Tokens
    feedback: Tokens
    names: Iterator[int] = dataclasses.field(default_factory=itertools.count)

    def fresh(self, tokens: Tokens) -> Tokens:
        """The same tokens with images that are no other's."""
        return Tokens(tokens.ids, tuple(dataclasses.replace(image, key=str(next(self.names))) for image in tokens.images))


def stand_ins(config: ConfigDict, encoder: Encoder, size: tuple[int, int] | None = None) -> StandIns:
    """size: (height, width) of the images in pixels, before they are scaled into the config's bounds."""
    unit = math.ceil(math.sqrt(config.image.max_pixels / 12))
    image, limit = np.zeros((*(size or (3 * unit, 4 * unit)), 3), np.uint8), config.rollout.feedback_tokens
    prompts = prompts_of(find(config.data.language))
    feedback = bounded_feedback(encoder, image, "", prompts, limit, image if config.rollout.difference else None)
    ids = np.concatenate([feedback.ids, np.full(limit - len(feedback), encoder.pad_id, np.int32)])
    return StandIns(encoder.prompt(opening(image, prompts)), Tokens(ids, feedback.images))


def trees_of(config: ConfigDict, encoder: Encoder, turns: int, size: tuple[int, int] | None = None) -> list[Tree]:
    """The trees of an update: the groups of RL at their longest, or SFT dialogues of `turns` turns that fill a row each. size: as of
    `stand_ins`."""
    pieces = stand_ins(config, encoder, size)
    if config.kind == "rl":
        plan = factory.plan_of(config)
        groups = [_group(plan, pieces, encoder) for _ in range(config.batch.size)]
        return [tree for group in groups for tree in split_tree(group, config.batch.suffixes)]
    length = config.batch.row_tokens
    spoken = (length - len(pieces.prompt) - (turns - 1) * len(pieces.feedback)) // turns
    if spoken < 1:
        raise ValueError(
            f"a dialogue of {turns} turns has {length} tokens of the rows and no room for responses beside its images; "
            "raise batch.row_tokens, or lower image.max_pixels or --turns"
        )
    return [Tree(_strand([pieces.prompt, *_turns(turns, spoken, pieces, encoder)], pieces), (), (1.0,)) for _ in range(config.batch.size)]


def _group(plan, pieces: StandIns, encoder: Encoder) -> Tree:
    """The longest group: shared turns in the prefix, the others in each suffix."""
    shared = plan.branch_turn - 1
    prefix = [pieces.prompt]
    for _ in range(shared):
        prefix += [_said(plan.response_tokens, encoder), pieces.feedback]
    held = dataclasses.replace(_strand(prefix, pieces), trained=np.zeros(sum(map(len, prefix)), bool))
    own = _turns(plan.turns - shared, plan.response_tokens, pieces, encoder)
    return Tree(held, tuple(_strand(own, pieces) for _ in range(plan.group)), (1.0,) * plan.group)


def _turns(turns: int, spoken: int, pieces: StandIns, encoder: Encoder) -> list[Tokens]:
    """Response, feedback, response, ..., response."""
    parts = []
    for _ in range(turns - 1):
        parts += [_said(spoken, encoder), pieces.feedback]
    return [*parts, _said(spoken, encoder)]


def _said(count: int, encoder: Encoder) -> Tokens:
    """A response: tokens that end a message stand for all others."""
    return Tokens(np.full(count, encoder.end_id, np.int32))


def _strand(parts: list[Tokens], pieces: StandIns) -> Strand:
    """Responses, which hold no image, are trained."""
    fixed = (id(pieces.prompt), id(pieces.feedback))
    return strand([(pieces.fresh(part), id(part) not in fixed, None) for part in parts])
