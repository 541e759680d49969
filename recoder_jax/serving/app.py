"""The HTTP side: routes, admission, streams, and how the server stops.

    admit (503, 429) ──► body (413, 408) ──► parse and encode, on a thread (400, 404) ──► worker ──► answer, or stream of chunks

All state here belongs to the event loop. A client that disconnects cancels its handler, and the handler its job (aiohttp's
`handler_cancellation`). `stop` lets no request in any more; those let in before have `grace` seconds.
"""

import asyncio
import contextlib
import dataclasses
import hmac
import secrets
import socket
import sys
import time
import traceback
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor

from aiohttp import web

from recoder_jax.dialogue.encoder import Encoder, Tokens
from recoder_jax.sampling.places import Request
from recoder_jax.serving.answers import DONE, Answer, event
from recoder_jax.serving.protocol import Asked, Limits, parse
from recoder_jax.serving.refusals import Refusal
from recoder_jax.serving.worker import Job, Piece, Stopped, Worker

MAX_BODY = 32 * 2**20  # bytes
BODY_SECONDS = 60.0  # a body that has not come by then is not waited for
STALL_SECONDS = 60.0  # nor a client that reads nothing of its stream
CLOSE_SECONDS = 5.0  # for answers on their way when all has ended
ENCODERS = 2  # threads that parse, decode images and encode
BACKLOG = 1024  # connections that the system holds before they are accepted


@dataclasses.dataclass(frozen=True)
class Options:
    """name: of the model. key: asked of clients, '' for none. places: requests side by side. queue: requests that may wait besides. rows:
    answers of a request. tokens: of an answer. context: tokens of a prompt. images: of a prompt."""

    name: str
    key: str
    places: int
    queue: int
    rows: int
    tokens: int
    context: int
    images: int


class Service:
    """Answers with a worker. `failure`: the error of the engine that stopped it, if one did. Made on the event loop that runs it."""

    def __init__(self, encoder: Encoder, options: Options):
        self.failure: Exception | None = None
        self._encoder, self._options, self._spelling = encoder, options, encoder.spelling()
        self._longest = max(map(len, self._spelling))  # bytes of an id
        self._limits = Limits(options.name, options.rows, options.tokens, options.images)
        self._pool = ThreadPoolExecutor(ENCODERS, "encoder")
        self._created, self._admitted = int(time.time()), 0
        self._idle, self._stop = asyncio.Event(), asyncio.Event()
        self._idle.set()
        self._loop, self._worker = asyncio.get_running_loop(), None

    @property
    def spelling(self) -> list[bytes]:
        return self._spelling

    def employ(self, worker: Worker) -> None:
        """The worker that does the jobs; to be called before the first request."""
        self._worker = worker

    def application(self) -> web.Application:
        app = web.Application(client_max_size=MAX_BODY, middlewares=[self._guard])
        app.add_routes([
            web.post("/v1/chat/completions", self._completions), web.get("/v1/models", self._models), web.get("/v1/models/{name:.+}", self._model),
            web.get("/health", self._health), web.get("/ready", self._ready),
        ])
        return app

    # stopping

    def stop(self) -> None:
        """Let no request in. A second call ends those that were let in, too."""
        if self._stop.is_set():
            self._idle.set()
        self._stop.set()

    def failed(self, error: Exception) -> None:
        """The engine failed; from any thread."""
        self.failure = error
        self._loop.call_soon_threadsafe(self.stop)

    async def until_stopped(self, grace: float) -> None:
        """Until `stop` was called and all requests have ended, at most `grace` seconds after."""
        await self._stop.wait()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await self._idle.wait()

    async def close(self) -> None:
        """Requests that have not ended are answered with 503."""
        worker, self._worker = self._worker, None  # first, so that it gets no job that nobody would do
        await asyncio.to_thread(worker.close)
        self._pool.shutdown(wait=False)

    # every request

    @web.middleware
    async def _guard(self, request: web.Request, handler) -> web.StreamResponse:
        """Asks for the key, and gives every error OpenAI's form."""
        try:
            self._check_key(request)
            return await handler(request)
        except Refusal as refusal:
            return _error(refusal)
        except web.HTTPException as error:
            return _error(_refusal_of_http(error, request))
        except ConnectionError:
            raise
        except Exception:
            traceback.print_exc(file=sys.stderr)
            return _error(Refusal(500, "the server failed to answer; its log says why", code="internal_error"))

    def _check_key(self, request: web.Request) -> None:
        if self._options.key and request.path.startswith("/v1/"):
            kind, _, key = request.headers.get("Authorization", "").partition(" ")
            if kind.lower() != "bearer" or not hmac.compare_digest(key.strip().encode("utf-8", "replace"), self._options.key.encode()):
                headers = {"WWW-Authenticate": "Bearer"}
                raise Refusal(401, "the API key is wrong or missing; send Authorization: Bearer KEY", code="invalid_api_key", headers=headers)

    # questions about the server

    async def _health(self, _) -> web.Response:
        """Status 503 where the engine failed. status: ok or stopping. open: requests let in; running: those of them on a place."""
        if self.failure is not None:
            raise Refusal(503, f"the engine failed ({type(self.failure).__name__}); start the server again", code="engine_failed")
        status, running = "stopping" if self._stop.is_set() else "ok", self._worker.running if self._worker else 0
        options = self._options
        return web.json_response({"status": status, "open": self._admitted, "running": running, "places": options.places, "queue": options.queue})

    async def _ready(self, _) -> web.Response:
        """Whether a request would be let in, but for a full queue."""
        self._check_open()
        return web.json_response({"status": "ok"})

    async def _models(self, _) -> web.Response:
        return web.json_response({"object": "list", "data": [self._card()]})

    async def _model(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name != self._options.name:
            raise Refusal(404, f"the model {name[:60]!r} does not exist; the model here is {self._options.name!r}", "model", "model_not_found")
        return web.json_response(self._card())

    def _card(self) -> dict:
        options = self._options
        return {
            "id": options.name, "object": "model", "created": self._created, "owned_by": "recoder_jax", "max_prompt_tokens": options.context,
            "max_completion_tokens": options.tokens,
        }

    # completions

    async def _completions(self, request: web.Request) -> web.StreamResponse:
        with self._admission():
            body = await _body(request)
            asked, prompt = await asyncio.get_running_loop().run_in_executor(self._pool, self._prepare, body)
            del body
            return await (self._stream if asked.stream else self._whole)(request, asked, prompt)

    @contextlib.contextmanager
    def _admission(self):
        """Raises Refusal where the server stops or the queue is full."""
        self._check_open()
        options = self._options
        if self._admitted >= options.places + options.queue:
            sentence = f"{self._admitted} requests are under way, which is the most; try again later"
            raise Refusal(429, sentence, code="queue_full", headers={"Retry-After": "1"})
        self._admitted += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._admitted -= 1
            if not self._admitted:
                self._idle.set()

    def _check_open(self) -> None:
        if self._stop.is_set():
            raise _stopping()

    def _prepare(self, body: bytes) -> tuple[Asked, Tokens]:
        """What is asked for, and the prompt. On a thread of the pool. Raises Refusal."""
        asked, most = parse(body, self._limits), self._options.context
        letters = sum(len(part) for message in asked.messages for part in message.content if isinstance(part, str))
        if letters > most * self._longest:  # not worth encoding
            raise _too_long(f"at least {letters // self._longest}", most)
        try:
            prompt = self._encoder.prompt(asked.messages)
        except ValueError as error:  # an image of extreme aspect
            raise Refusal(400, str(error), "messages", "invalid_value") from None
        if len(prompt) > most:
            raise _too_long(str(len(prompt)), most)
        return dataclasses.replace(asked, messages=()), prompt

    def _answer(self, asked: Asked, prompt: Tokens) -> Answer:
        return Answer(self._options.name, asked.rows, len(prompt), self._spelling, asked.logprobs, asked.usage)

    async def _whole(self, request: web.Request, asked: Asked, prompt: Tokens) -> web.StreamResponse:
        answer = self._answer(asked, prompt)
        async with contextlib.aclosing(self._pieces(asked, prompt)) as pieces:
            async for piece in pieces:
                answer.add(piece)
        response = web.json_response(answer.whole())
        # sent here, so that a server that stops waits for it
        await response.prepare(request)
        await response.write_eof()
        return response

    async def _stream(self, request: web.Request, asked: Asked, prompt: Tokens) -> web.StreamResponse:
        answer, response = self._answer(asked, prompt), web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})

        async def send(*events: bytes) -> None:
            async with asyncio.timeout(STALL_SECONDS):
                await response.write(b"".join(events))

        async with contextlib.aclosing(self._pieces(asked, prompt)) as pieces:
            await response.prepare(request)
            try:
                await send(*map(event, answer.opening()))
                async for piece in pieces:
                    answer.add(piece)
                    if chunks := list(answer.chunks(piece)):
                        await send(*map(event, chunks))
                await send(*map(event, answer.closing()), DONE)
            except Refusal as refusal:  # the status is sent already
                await send(event(refusal.body()))
            except TimeoutError:
                request.transport.abort()
            await response.write_eof()
        return response

    async def _pieces(self, asked: Asked, prompt: Tokens) -> AsyncIterator[Piece]:
        """What the rows of a request say, until all have ended. Raises Refusal. Closed before that, it cancels the job."""
        if self._worker is None:
            raise _stopping()
        events: asyncio.Queue = asyncio.Queue()
        request = Request(prompt, identity_of(asked.seed), asked.tokens, rows=asked.rows, controls=asked.controls)
        job, worker, left = Job(request, asked.stops, lambda said: self._loop.call_soon_threadsafe(events.put_nowait, said)), self._worker, asked.rows
        worker.submit(job)
        try:
            while left:
                said = await events.get()
                if isinstance(said, Exception):
                    raise _refusal_of_job(said)
                for piece in said:
                    left -= piece.finish is not None
                    yield piece
        finally:
            worker.cancel(job)


def identity_of(seed: int | None) -> tuple[int, int, int]:
    """Seed, step and chart of a request: (seed, 0, 0) for a seed of 31 bits; the upper half of a longer one stands as step. None: random."""
    if seed is None:
        seed = secrets.randbits(63)
    low, high = seed & 0xFFFFFFFF, seed >> 32
    return low - (low >> 31 << 32), high, 0


async def _body(request: web.Request) -> bytes:
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await request.read()
    except TimeoutError:
        sentence = f"the body did not come within {BODY_SECONDS:g} s; send it faster"
        raise Refusal(408, sentence, code="request_timeout", headers={"Connection": "close"}) from None


def _stopping() -> Refusal:
    return Refusal(503, "the server is stopping; ask another one", code="server_stopping", headers={"Connection": "close"})


def _too_long(tokens: str, most: int) -> Refusal:
    sentence = f"the messages take {tokens} tokens, but a prompt may have {most}; shorten them or send smaller images"
    return Refusal(400, sentence, "messages", "context_length_exceeded")


def _refusal_of_job(error: Exception) -> Refusal:
    if isinstance(error, Stopped):
        return _stopping()
    if isinstance(error, ValueError):
        return Refusal(400, str(error), code="invalid_value")
    return Refusal(500, f"the engine failed ({type(error).__name__}); the server ends", code="engine_failed")


def _refusal_of_http(error: web.HTTPException, request: web.Request) -> Refusal:
    """What aiohttp refuses by itself."""
    if error.status == 404:
        return Refusal(404, f"there is no {request.path[:60]!r}; ask for /v1/chat/completions, /v1/models, /health or /ready", code="not_found")
    if error.status == 405:
        allowed = error.headers["Allow"]
        return Refusal(405, f"{request.path[:60]} does not take {request.method}; use {allowed}", code="method_not_allowed", headers={"Allow": allowed})
    if error.status == 413:
        return Refusal(413, f"the body has more than {MAX_BODY} bytes; send smaller images", code="request_too_large", headers={"Connection": "close"})
    return Refusal(error.status, error.reason, code="http_error")


def _error(refusal: Refusal) -> web.Response:
    return web.json_response(refusal.body(), status=refusal.status, headers=refusal.headers)


async def serve(service: Service, sock: socket.socket, grace: float, ready: Callable[[], None]) -> None:
    """Answer on a bound socket until `service.stop` is called."""
    runner = web.AppRunner(
        service.application(), handler_cancellation=True, access_log=None, handle_signals=False, shutdown_timeout=CLOSE_SECONDS,
    )
    await runner.setup()
    try:
        await web.SockSite(runner, sock, backlog=BACKLOG).start()
        ready()
        await service.until_stopped(grace)
    finally:
        await service.close()
        await runner.cleanup()
