"""The model reward: a vision-language model compares the reference chart with the render, over six items of 100 points.

    submit ──► worker threads: scale, encode, look into the cache ──► ask a server (judge_asking) ──► keep ──► Judgement

A judge is one model behind one or several servers with OpenAI-compatible chat completions. Its key comes from the environment
only. A judgement that could not be had is `Judgement(score=None, kind=..., failure=...)`, never 0: the mixture decides what a
missing part means. What has nothing drawn (no render, no pixels, one colour) scores 0 without a question. Questions of other
forms (judge_forms.py) go the same way.

Not handled: a second opinion by another model.
"""

import asyncio
import json
import os
import threading
from collections.abc import Coroutine, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import openai

from recoder_jax.rewards.images import check_image, one_colour
from recoder_jax.rewards.judge_asking import Asker
from recoder_jax.rewards.judge_cache import JudgeCache, cache_key
from recoder_jax.rewards.judge_forms import POINTS, Form, Sheet
from recoder_jax.rewards.judge_options import JudgeOptions, addresses
from recoder_jax.rewards.judge_prompt import AGAIN_TEMPERATURE, ITEMS, encoded, parse_reply, presentable
from recoder_jax.rewards.judge_servers import Server, Servers
from recoder_jax.rewards.judgement import FailureKind, Judgement, failed

__all__ = ['ITEMS', 'FailureKind', 'Judge', 'JudgeOptions', 'Judgement', 'parse_reply']

_CONNECT_SECONDS = 5.0
_ENCODERS = 2                  # threads that scale and encode
_CLOSED = failed(FailureKind.closed, 'the judge was closed before it answered; collect judgements before closing')


class Judge:
    """Asks for judgements in the background. A context manager; `close` gives up on what is still open.

    Raises ValueError when the cache cannot be written.
    """

    def __init__(self, options: JudgeOptions):
        self._options = options
        self._cache = JudgeCache(options.cache) if options.cache else None
        key = os.environ.get(options.key_variable, '')
        timeout = openai.Timeout(options.attempt_seconds, connect=min(_CONNECT_SECONDS, options.attempt_seconds))
        servers = [Server(address, openai.AsyncOpenAI(base_url=address, max_retries=0, timeout=timeout, api_key=key or 'none'))
                   for address in addresses(options.base_url)]
        self._servers = Servers(
            servers, options.concurrency, options.server_concurrency, options.breaker_failures, options.breaker_pause)
        self._asker = Asker(options, self._servers, hidden=key)
        self._under_way: dict[str, asyncio.Task] = {}
        self._closed = False
        self._pool = ThreadPoolExecutor(_ENCODERS, 'judge-encoder')
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name='judge', daemon=True)
        self._thread.start()

    def __enter__(self) -> 'Judge':
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def submit(self, reference: np.ndarray, render: np.ndarray | None, fresh: bool = False) -> Future:
        """Future of a `Judgement` of uint8 [H, W, 3] images; it always gets a result, also when the judge fails.

        fresh: puts the question to a server even where the answer is known, under way, or plain because nothing is drawn.
        ValueError for arrays of another form and after `close`.
        """
        if self._closed:
            raise ValueError('the judge is closed; open a new one')
        check_image(reference, 'reference')
        if render is not None:
            check_image(render, 'render')
        if render is None or render.size == 0 or reference.size == 0:
            judgement: Future = Future()
            judgement.set_result(Judgement(score=0.0))
            return judgement
        return self._start(POINTS, '', (reference, render), fresh, not fresh)

    def put(self, form: Form, text: str = '', images: Sequence[np.ndarray] = ()) -> Future:
        """Future of a `Judgement` by another form, whose score is the share of its most points.

        text: in place of the form's. images: uint8 [H, W, 3], in the order in which they are shown. ValueError as of `submit`.
        """
        if self._closed:
            raise ValueError('the judge is closed; open a new one')
        for image in images:
            check_image(image, 'image')
        return self._start(form, text, tuple(images), False, False)

    def _start(self, form: Form, text: str, images: tuple[np.ndarray, ...], fresh: bool, blank: bool) -> Future:
        judgement: Future = Future()
        judgement.set_running_or_notify_cancel()

        def settle(work: Future) -> None:      # a task cancelled before its first step never ran its own handler
            judgement.set_result(_CLOSED if work.cancelled() else work.result())

        self._run(self._judge(form, text, images, fresh, blank)).add_done_callback(settle)
        return judgement

    def judge(self, reference: np.ndarray, render: np.ndarray | None, fresh: bool = False) -> Judgement:
        return self.submit(reference, render, fresh).result()

    @property
    def health(self) -> list[tuple[str, int, int]]:
        """(address, attempts answered, attempts failed) of each server."""
        return [(server.address, server.answered, server.failed) for server in self._servers.all]

    def close(self) -> None:
        """Open questions end as failures; connections and threads are released. May be called twice."""
        if self._closed:
            return
        self._closed = True
        self._run(self._shut_down()).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._pool.shutdown(cancel_futures=True)

    def _run(self, work: Coroutine) -> Future:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def _shut_down(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        self._servers.close()
        for server in self._servers.all:
            await server.client.close()
        await self._loop.shutdown_asyncgens()
        await self._loop.shutdown_default_executor()      # the threads that look up host names

    async def _judge(self, form: Form, text: str, images: tuple[np.ndarray, ...], fresh: bool, blank: bool) -> Judgement:
        """blank: whether a last image of one colour is 0 without a question."""
        try:
            sheet, drawn = await self._on_thread(self._sheet, form, text, images)
            if fresh:
                return await self._asker.ask(sheet)
            if blank and not drawn:
                return Judgement(score=0.0)
            key = self._key(sheet)
            known = self._cache and await self._on_thread(self._cache.get, key, form.known)
            if known:
                return Judgement(sum(known.values()) / form.most, known, cached=True)
            return await asyncio.shield(self._ask_once(key, sheet))
        except asyncio.CancelledError:
            if not self._closed:
                raise
            return _CLOSED
        except Exception as error:      # a reward part must never stop training; the sentence carries the cause
            return failed(FailureKind.internal, f'asking the judge failed with {type(error).__name__}; report it')

    def _on_thread(self, function, *arguments) -> asyncio.Future:
        return self._loop.run_in_executor(self._pool, function, *arguments)

    def _sheet(self, form: Form, text: str, images: tuple[np.ndarray, ...]) -> tuple[Sheet, bool]:
        """What is sent, and whether the last image is of more than one colour."""
        shown = [presentable(image, self._options.max_pixels) for image in images]
        drawn = bool(images) and not one_colour(shown[-1][:images[-1].shape[0], :images[-1].shape[1]])
        return Sheet(form, text or form.text, tuple(map(encoded, shown))), drawn

    def _key(self, sheet: Sheet) -> str:
        """The key of a question in the cache: all that decides its answer."""
        options = self._options
        asked = {'model': options.model, 'temperatures': (0.0, AGAIN_TEMPERATURE), 'tokens': options.reply_tokens,
                 'format': sheet.form.schema if options.structured else None}
        return cache_key(sheet.text, json.dumps(asked), *sheet.images)

    def _ask_once(self, key: str, sheet: Sheet) -> asyncio.Task:
        """The task that asks a question; the same one for all who want to know it meanwhile."""
        if key not in self._under_way:
            task = self._under_way[key] = asyncio.create_task(self._ask_and_keep(key, sheet))
            task.add_done_callback(lambda _: self._under_way.pop(key))
        return self._under_way[key]

    async def _ask_and_keep(self, key: str, sheet: Sheet) -> Judgement:
        judgement = await self._asker.ask(sheet)
        if self._cache and judgement.score is not None:
            await self._on_thread(self._cache.put, key, judgement.items)
        return judgement
