"""The model reward: a vision-language model compares the reference chart with the render, over six items of 100 points.

The judge is any server with OpenAI-compatible chat completions. Its key comes from the environment only.

A judgement that could not be had is `Judgement(score=None, failure=...)`, never 0: the caller decides what a missing
reward part means. A program without a render has nothing to compare and scores 0 without a question.

Not handled: one judge only, no cache, no second opinion.
"""

import asyncio
import base64
from collections.abc import Coroutine
from concurrent.futures import Future
from dataclasses import dataclass, field
import io
import json
import os
import random
import re
import threading

import numpy as np
import openai
from PIL import Image


@dataclass(frozen=True)
class Item:
    """One aspect the judge gives points for."""

    name: str
    points: int
    question: str


# Aspects and points of ChartMimic's high-level score; the wording is ours.
ITEMS = (
    Item('chart_type', 20, 'Are the same types of chart drawn, in the same combination?'),
    Item('layout', 10, 'Are the panels the same in number and arrangement?'),
    Item('text', 20, 'Do titles, axis labels, legend entries and annotations read the same? Leave tick labels out.'),
    Item('data', 20, 'Do the values follow the same trends, with the same number of groups?'),
    Item('style', 20, 'Do colours, markers, line styles, legend placement and grid agree?'),
    Item('clarity', 10, 'Is the second image clean, without overlapping or cut-off elements?'),
)


@dataclass(frozen=True)
class Judgement:
    """What the judge said.

    Attributes:
      score: share of the 100 points, in [0, 1]; None when no judgement could be had.
      items: points per item, empty when score is None or nothing was rendered.
      failure: one sentence when score is None, else None.
    """

    score: float | None
    items: dict[str, float] = field(default_factory=dict)
    failure: str | None = None


@dataclass(frozen=True)
class JudgeOptions:
    """How to reach and treat the judge.

    Attributes:
      base_url: address of the server, up to and with '/v1'.
      model: name of the model there.
      key_variable: environment variable that holds the key; unset is fine for a server that asks for none.
      seconds: a judgement is given up this long after it was submitted, waiting included.
      attempts: how often one question is asked at most.
      first_pause: seconds before the second attempt; doubles each time, plus up to half at random.
      concurrency: questions in flight at a time.
      reply_tokens: length limit of a reply.
    """

    base_url: str
    model: str
    key_variable: str = 'OPENAI_API_KEY'
    seconds: float = 120.0
    attempts: int = 4
    first_pause: float = 0.5
    concurrency: int = 16
    reply_tokens: int = 512


class Judge:
    """Asks for judgements in the background. A context manager; `close` gives up on what is still open.

    Raises ValueError when the options make no sense.
    """

    def __init__(self, options: JudgeOptions):
        if not options.base_url.startswith(('http://', 'https://')):
            raise ValueError(f'the judge address {options.base_url!r} is not a URL; give http://host:port/v1')
        if options.attempts < 1 or options.concurrency < 1 or options.seconds <= 0:
            raise ValueError(f'the judge needs at least one attempt, one question at a time and some seconds, not {options}')
        self._options = options
        self._client = openai.AsyncOpenAI(base_url=options.base_url, max_retries=0, timeout=options.seconds,
                                          api_key=os.environ.get(options.key_variable) or 'none')
        self._open = asyncio.Semaphore(options.concurrency)
        self._jitter = random.Random(0)      # spreads retries; decides no result
        self._closed = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name='judge', daemon=True)
        self._thread.start()

    def __enter__(self) -> 'Judge':
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def submit(self, reference: np.ndarray, render: np.ndarray | None) -> Future:
        """Future of a `Judgement` of uint8 [H, W, 3] images; it always gets a result, also when the judge fails."""
        if self._closed:
            raise ValueError('the judge is closed; open a new one')
        if render is None:
            done: Future = Future()
            done.set_result(Judgement(score=0.0))
            return done
        judgement: Future = Future()
        judgement.set_running_or_notify_cancel()

        def settle(work: Future) -> None:      # a task cancelled before its first step never ran its own handler
            judgement.set_result(_failed(_CLOSED) if work.cancelled() else work.result())

        self._run(self._judge(question(reference, render))).add_done_callback(settle)
        return judgement

    def judge(self, reference: np.ndarray, render: np.ndarray | None) -> Judgement:
        return self.submit(reference, render).result()

    def close(self) -> None:
        """Open questions end as failures; the connection and the thread are released. May be called twice."""
        if self._closed:
            return
        self._closed = True
        self._run(self._shut_down()).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, work: Coroutine) -> Future:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def _shut_down(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await self._client.close()

    async def _judge(self, messages: list[dict]) -> Judgement:
        last = 'no attempt ended'
        try:
            async with asyncio.timeout(self._options.seconds):
                for attempt in range(self._options.attempts):
                    if attempt:
                        await asyncio.sleep(self._options.first_pause * 2 ** (attempt - 1) * self._jitter.uniform(1, 1.5))
                    try:
                        return await self._ask(messages)
                    except _TryAgain as trouble:
                        last = str(trouble)
        except TimeoutError:
            return _failed(f'the judge gave no judgement within {self._options.seconds:g} s ({last}); '
                           'raise judge seconds or use a faster server')
        except asyncio.CancelledError:
            if not self._closed:
                raise
            return _failed(_CLOSED)
        except openai.APIStatusError as error:
            return _failed(f'the judge refused the question with status {error.status_code}; '
                           'check the address, the model name and the key')
        except Exception as error:      # a reward part must never stop training; the sentence carries the cause
            return _failed(f'asking the judge failed with {type(error).__name__}; check the server')
        return _failed(f'the judge failed {self._options.attempts} times, lastly: {last}; check the server')

    async def _ask(self, messages: list[dict]) -> Judgement:
        """One attempt. Raises _TryAgain for what may pass: overload, a lost connection, an unusable reply."""
        try:
            async with self._open:
                completion = await self._client.chat.completions.create(
                    model=self._options.model, messages=messages, temperature=0.0, seed=0,
                    max_tokens=self._options.reply_tokens)
            reply = completion.choices[0].message.content or ''
        except openai.APIConnectionError as error:
            raise _TryAgain(f'the connection failed ({type(error).__name__})') from error
        except openai.APIStatusError as error:
            if error.status_code in (408, 409, 429) or error.status_code >= 500:
                raise _TryAgain(f'the server answered with status {error.status_code}') from error
            raise
        except (openai.APIError, ValueError, AttributeError, TypeError, IndexError) as error:
            raise _TryAgain(f'the server answered with something that is no completion ({type(error).__name__})') from error
        points = parse_reply(reply)
        if points is None:
            raise _TryAgain(f'the reply holds no points for the {len(ITEMS)} items: {reply[:80]!r}')
        return Judgement(score=sum(points.values()) / sum(item.points for item in ITEMS), items=points)


_CLOSED = 'the judge was closed before it answered; collect judgements before closing'


class _TryAgain(Exception):
    """An attempt failed for a reason that may pass."""


def _failed(sentence: str) -> Judgement:
    return Judgement(score=None, failure=sentence)


def question(reference: np.ndarray, render: np.ndarray) -> list[dict]:
    """Chat messages with the reference first and the render second; the order changes what judges answer."""
    lines = [f'- "{item.name}", 0 to {item.points}: {item.question}' for item in ITEMS]
    example = json.dumps({item.name: item.points // 2 for item in ITEMS})
    text = '\n'.join([
        'The first image is a reference chart. The second image was drawn by a program that tries to reproduce it.',
        'Give points for how well the second agrees with the first; full points only where you see no difference:',
        *lines,
        'Answer with one JSON object that has exactly these six keys and numbers as values, and nothing else, for example:',
        example])
    return [{'role': 'user', 'content': [{'type': 'text', 'text': text}, _image_part(reference), _image_part(render)]}]


def _image_part(image: np.ndarray) -> dict:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format='PNG')
    return {'type': 'image_url', 'image_url': {'url': 'data:image/png;base64,' + base64.b64encode(buffer.getvalue()).decode()}}


def parse_reply(reply: str) -> dict[str, float] | None:
    """Points per item, or None when the reply does not hold all six within their limits.

    First the whole reply as JSON; then the last JSON object inside it, with points as numbers or as text like '18/20'
    and keys in any case, with spaces or dashes. Points outside their limits are never clamped.
    """
    try:
        points = _points(json.loads(reply), lenient=False)
    except (ValueError, RecursionError):
        points = None
    if points is not None:
        return points
    for candidate in reversed(re.findall(r'\{[^{}]*\}', reply)):
        try:
            points = _points(json.loads(candidate), lenient=True)
        except (ValueError, RecursionError):
            continue
        if points is not None:
            return points
    return None


def _points(value, lenient: bool) -> dict[str, float] | None:
    if not isinstance(value, dict):
        return None
    if lenient:
        value = {re.sub(r'[\s-]+', '_', key.strip().lower()): entry for key, entry in value.items()}
    elif value.keys() != {item.name for item in ITEMS}:
        return None
    points = {item.name: _number(value.get(item.name), item.points, lenient) for item in ITEMS}
    return None if None in points.values() else points


def _number(value, limit: int, lenient: bool) -> float | None:
    if lenient and isinstance(value, str):
        match = re.fullmatch(r'\s*(\d+(?:\.\d+)?)\s*(?:/\s*(\d+))?\s*', value)
        if not match or match[2] not in (None, str(limit)):
            return None
        value = float(match[1])
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if 0 <= value <= limit else None
