"""A judge in this process: a policy of the Qwen2.5-VL family on our own sampler, asked what `rewards/judge.py` asks a server.

    submit, submit, ... ──► open questions ──► the engine, `batch` side by side ──► parse ──► Judgement

Nothing is decoded before the first `result()` is asked for: then all open questions are answered. What a reply says depends on its own
question alone, so a run is reproducible. Questions, images, points, parsing and cache are those of the judge behind a server.

Not handled: answering while other rows decode; replies that follow a schema.
"""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from recoder_jax.dialogue.encoder import Encoder, Tokens
from recoder_jax.dialogue.turns import Message
from recoder_jax.rewards.images import check_image, one_colour
from recoder_jax.rewards.judge_cache import JudgeCache, cache_key
from recoder_jax.rewards.judge_forms import POINTS, Form
from recoder_jax.rewards.judge_prompt import AGAIN_TEMPERATURE, encoded, presentable
from recoder_jax.rewards.judgement import FailureKind, Judgement, failed
from recoder_jax.sampling.drawing import Controls
from recoder_jax.sampling.engine import Engine, Said
from recoder_jax.sampling.functions import Sampler, room_for
from recoder_jax.sampling.places import Request

CHUNK = 32  # tokens decoded between two looks at who has ended


@dataclass(frozen=True)
class PolicyJudgeOptions:
    """name: says which policy it is and how it sees, part of the key of kept judgements. batch: questions decoded side by side. attempts: how often a question is
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
    """What is asked, the key of the answer, and whom to tell. fresh: not to be taken from what is known."""

    form: Form
    text: str
    images: tuple[np.ndarray, ...]
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
        return self._ask(POINTS, POINTS.text, (presentable(reference, self._options.max_pixels), shown), fresh)

    def put(self, form: Form, text: str = '', images: Sequence[np.ndarray] = ()) -> Pending:
        """A judgement by another form. text: in place of the form's. images: uint8 [H, W, 3]. ValueError as of `submit`."""
        if self._closed:
            raise ValueError('the judge is closed; open a new one')
        for image in images:
            check_image(image, 'image')
        return self._ask(form, text or form.text, tuple(presentable(image, self._options.max_pixels) for image in images), False)

    def _ask(self, form: Form, text: str, images: tuple[np.ndarray, ...], fresh: bool) -> Pending:
        question = _Question(form, text, images, self._key(text, images), fresh, Pending(self))
        known = self._cache and not fresh and self._cache.get(question.key, form.known)
        if known:
            return Pending(self, Judgement(sum(known.values()) / form.most, known, cached=True))
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
        for group, judgement in zip(groups, self._judgements([group[0] for group in groups]), strict=True):
            if self._cache and judgement.score is not None and not group[0].fresh:
                self._cache.put(group[0].key, judgement.items)
            for question in group:
                question.pending.judgement = judgement

    def _key(self, text: str, images: tuple[np.ndarray, ...]) -> str:
        options = self._options
        asked = {'policy': options.name, 'temperatures': (0.0, AGAIN_TEMPERATURE), 'tokens': options.reply_tokens, 'attempts': options.attempts}
        return cache_key(text, json.dumps(asked), *map(encoded, images))

    def _judgements(self, questions: Sequence[_Question]) -> list[Judgement]:
        """One judgement a question; those whose reply holds no points are asked again."""
        start, found, last = time.perf_counter(), [None] * len(questions), [''] * len(questions)
        prompts = [self._encoder.prompt([Message('user', (question.text, *question.images))]) for question in questions]
        for attempt in range(self._options.attempts):
            asked = [number for number, judgement in enumerate(found) if judgement is None]
            for number, said in self._replies(questions, [(number, prompts[number]) for number in asked], attempt):
                last[number], form = self._encoder.decode(said.tokens), questions[number].form
                points = form.read(last[number])
                if points is not None:
                    found[number] = Judgement(sum(points.values()) / form.most, points, seconds=time.perf_counter() - start,
                                              prompt_tokens=len(prompts[number]), reply_tokens=len(said.tokens))
        return [judgement or failed(FailureKind.unusable, f'the judge failed {self._options.attempts} times, lastly: the reply holds no '
                                    f'{question.form.sought}: {text[:80]!r}; use a larger policy or raise judge.reply_tokens')
                for question, judgement, text in zip(questions, found, last, strict=True)]

    def _replies(self, questions: Sequence[_Question], prompts: Sequence[tuple[int, Tokens]], attempt: int) -> Iterator[tuple[int, Said]]:
        """Replies to prompts numbered as their questions are, as they end. A later attempt samples: greedy, the same reply would come again."""
        if not prompts:
            return
        shards, cap = self._sampler.shards, self._options.reply_tokens
        places, longest = -(-self._options.batch // shards) * shards, max(len(prompt) for _, prompt in prompts)
        room = room_for(places, 1, 1, 0, longest, cap, 0, lanes=places, chunk=min(CHUNK, cap), buckets=self._sampler.buckets)
        engine, controls = Engine(self._sampler, self._params, room), Controls(temperature=AGAIN_TEMPERATURE if attempt else 0.0)
        numbers = {}
        for number, prompt in prompts:  # drawn by what is asked, not by its place among the questions, which arrive as programs end
            request = Request(prompt, (0, attempt, int(questions[number].key[:7], 16)), cap, controls=controls)
            numbers[request] = number
            engine.submit(request)
        while engine.busy:
            for said in engine.step():
                engine.release(said.request, said.row)
                yield numbers[said.request], said
