"""A judge in this process: a policy of the Qwen2.5-VL family on our own sampler, asked what `rewards/judge.py` asks a server.

    submit, submit, ... ──► questions in the order of submission ──► batches of `batch` ──► decode ──► parse ──► Judgement

Nothing is decoded before the first `result()` is asked for: then all open questions are answered, in batches that depend on the
order of submission alone, so that a run is reproducible. A batch that is not full is filled up with its last question, and every
decode has one shape. Questions, images, points, parsing and cache are those of the judge behind a server.

Not handled: answering while other rows decode; replies that follow a schema.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

from recoder_jax.dialogue.encoder import Encoder
from recoder_jax.dialogue.turns import Message
from recoder_jax.rewards.images import check_image, one_colour
from recoder_jax.rewards.judge_asking import AGAIN_TEMPERATURE
from recoder_jax.rewards.judge_cache import JudgeCache, cache_key
from recoder_jax.rewards.judge_prompt import ITEMS, TEXT, TOTAL, encoded, parse_reply, presentable
from recoder_jax.rewards.judgement import FailureKind, Judgement, failed
from recoder_jax.sampling.engine import Sampler, row_keys


@dataclass(frozen=True)
class PolicyJudgeOptions:
    """name: of the policy, part of the key of kept judgements. batch: questions decoded side by side. attempts: how often a question is
    asked whose reply holds no points, the first time greedily. reply_tokens: cap of a reply. max_pixels: larger images are scaled
    down. cache: directory of judgements; '' keeps none."""

    name: str
    batch: int = 8
    attempts: int = 2
    reply_tokens: int = 256
    max_pixels: int = 1280 * 28 * 28
    cache: str = ''


class Pending:
    """A judgement that may still have to be asked for; `result` as of a future."""

    def __init__(self, judge: 'PolicyJudge', judgement: Judgement | None = None):
        self._judge, self.judgement = judge, judgement

    def result(self) -> Judgement:
        if self.judgement is None:
            self._judge.answer()
        return self.judgement


@dataclass(eq=False)
class _Question:
    """What is compared, the key of the answer, and whom to tell. fresh: not to be taken from what is known."""

    images: tuple[np.ndarray, np.ndarray]
    key: str
    fresh: bool
    pending: Pending


class PolicyJudge:
    """Asks a policy for judgements, with the interface of `rewards.judge.Judge`. params: those that `sampler.load` made."""

    def __init__(self, sampler: Sampler, params, encoder: Encoder, options: PolicyJudgeOptions):
        self._sampler, self._params, self._encoder, self._options = sampler, params, encoder, options
        self._cache = JudgeCache(options.cache) if options.cache else None
        self._open: list[_Question] = []
        self._closed = False

    def __enter__(self) -> 'PolicyJudge':
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        """Open questions end as failures. May be called twice."""
        self._closed = True
        for question in self._open:
            question.pending.judgement = failed(FailureKind.closed, 'the judge was closed before it answered; collect judgements before closing')
        self._open.clear()

    def submit(self, reference: np.ndarray, render: np.ndarray | None, fresh: bool = False) -> Pending:
        """A judgement of uint8 [H, W, 3] images, to be had by `result()`. What has nothing drawn scores 0 without a question.

        fresh: asks even where the answer is known, or plain because nothing is drawn. ValueError for arrays of another form and
        after `close`.
        """
        if self._closed:
            raise ValueError('the judge is closed; open a new one')
        check_image(reference, 'reference')
        if render is not None:
            check_image(render, 'render')
        if render is None or render.size == 0 or reference.size == 0:
            return Pending(self, Judgement(score=0.0))
        shown = presentable(render, self._options.max_pixels)
        if not fresh and one_colour(shown[:render.shape[0], :render.shape[1]]):
            return Pending(self, Judgement(score=0.0))
        images = presentable(reference, self._options.max_pixels), shown
        question = _Question(images, self._key(images), fresh, Pending(self))
        known = self._cache and not fresh and self._cache.get(question.key)
        if known:
            return Pending(self, Judgement(sum(known.values()) / TOTAL, known, cached=True))
        self._open.append(question)
        return question.pending

    def judge(self, reference: np.ndarray, render: np.ndarray | None, fresh: bool = False) -> Judgement:
        return self.submit(reference, render, fresh).result()

    def answer(self) -> None:
        """Answers all open questions; equal ones that need not be fresh are asked once."""
        questions, self._open = self._open, []
        asked: dict[object, list[_Question]] = {}
        for question in questions:
            asked.setdefault(question if question.fresh else question.key, []).append(question)
        groups = list(asked.values())
        for first in range(0, len(groups), self._options.batch):
            chosen = groups[first:first + self._options.batch]
            for group, judgement in zip(chosen, self._judgements([group[0].images for group in chosen]), strict=True):
                if self._cache and judgement.score is not None and not group[0].fresh:
                    self._cache.put(group[0].key, judgement.items)
                for question in group:
                    question.pending.judgement = judgement

    def _key(self, images: tuple[np.ndarray, np.ndarray]) -> str:
        options = self._options
        asked = {'policy': options.name, 'temperatures': (0.0, AGAIN_TEMPERATURE), 'tokens': options.reply_tokens, 'attempts': options.attempts}
        return cache_key(TEXT, json.dumps(asked), *map(encoded, images))

    def _judgements(self, images: Sequence[tuple[np.ndarray, np.ndarray]]) -> list[Judgement]:
        """One judgement a pair. All pairs are asked again while one of them has no points; what has them keeps them."""
        start, found, last = time.perf_counter(), [None] * len(images), [''] * len(images)
        prompts = [self._encoder.prompt([Message('user', (TEXT, *pair))]) for pair in images]
        prompts += prompts[-1:] * (self._options.batch - len(prompts))
        for attempt in range(self._options.attempts):
            for number, (text, tokens) in enumerate(self._replies(prompts, attempt)[:len(images)]):
                points = parse_reply(text) if found[number] is None else None
                last[number] = text
                if points is not None:
                    found[number] = Judgement(sum(points.values()) / TOTAL, points, seconds=time.perf_counter() - start,
                                              prompt_tokens=len(prompts[number]), reply_tokens=tokens)
            if None not in found:
                break
        return [judgement or failed(FailureKind.unusable, f'the judge failed {self._options.attempts} times, lastly: the reply holds no points for the '
                                    f'{len(ITEMS)} items: {text[:80]!r}; use a larger policy or raise judge.reply_tokens')
                for judgement, text in zip(found, last, strict=True)]

    def _replies(self, prompts, attempt: int) -> list[tuple[str, int]]:
        """Text and tokens of a reply to each prompt. A later attempt samples: greedy, the same reply would come again."""
        cache = self._sampler.branch(self._sampler.start(self._params, prompts), 1, self._options.reply_tokens)
        keys = row_keys(0, attempt, jnp.arange(len(prompts)), 1, 1)
        temperature = AGAIN_TEMPERATURE if attempt else 0.0
        _, sampled = self._sampler.decode(self._params, cache, keys, self._options.reply_tokens, temperature)
        said = [sampled.tokens[n, 0, :sampled.length[n, 0]] for n in range(len(prompts))]
        return [(self._encoder.decode(ids), len(ids)) for ids in said]
