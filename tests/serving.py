"""A server in a thread, over the tiny random policy, and ways to talk to it."""

import asyncio
import base64
import contextlib
import http.client
import json
import socket
import threading
import time

from recoder_jax.dialogue.images import encode_png
from recoder_jax.sampling.engine import Engine
from recoder_jax.sampling.functions import Sampler, room_for
from recoder_jax.sampling.layout import Buckets
from recoder_jax.serving.app import Options, Service, serve
from recoder_jax.serving.worker import Worker
from tests.conftest import image_of

PLACES, ROWS, TOKENS, CONTEXT, CHUNK = 4, 3, 3000, 1024, 8
# Greedy, the random policy repeats itself and never ends: a request that lasts until it is cancelled.
ENDLESS = {"model": "tiny", "messages": [{"role": "user", "content": "go on"}], "temperature": 0}


class Running:
    """service: None until the server is up. port: where it listens."""

    def __init__(self, encoder, engine: Engine, grace: float, options: dict):
        self.engine, self.service = engine, None
        given = {"name": "tiny", "key": "", "places": PLACES, "queue": 64, "rows": ROWS, "tokens": TOKENS, "context": CONTEXT, "images": 16}
        self._encoder, self._grace, self._options = encoder, grace, Options(**given | options)
        self._up, self.loop = threading.Event(), None
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.thread = threading.Thread(target=lambda: asyncio.run(self._main()))

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    async def _main(self) -> None:
        self.loop, service = asyncio.get_running_loop(), Service(self._encoder, self._options)
        service.employ(Worker(self.engine, service.spelling, service.failed))
        self.service = service
        with self._socket:
            await serve(service, self._socket, self._grace, self._up.set)

    def stop(self) -> None:
        with contextlib.suppress(RuntimeError):  # it has ended by itself
            self.loop.call_soon_threadsafe(self.service.stop)

    def start(self) -> None:
        self.thread.start()
        assert self._up.wait(60)

    def ask(self, method: str, path: str, body=None, headers=()) -> tuple[int, dict, dict]:
        """Status, headers and JSON of one exchange; bytes go as they are."""
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            connection.request(method, path, body if body is None or isinstance(body, bytes) else json.dumps(body).encode(), dict(headers))
            response = connection.getresponse()
            return response.status, dict(response.headers), json.loads(response.read() or "null")

    def complete(self, body) -> tuple[int, dict]:
        status, _, answer = self.ask("POST", "/v1/chat/completions", body)
        return status, answer

    def open(self, body) -> socket.socket:
        """A connection over which a request was sent and nothing is read."""
        raw = json.dumps(body).encode()
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        connection.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(raw) + raw)
        return connection

    def until(self, seconds: float = 60.0, **state) -> None:
        """Wait until /health says so."""
        end = time.monotonic() + seconds
        while not state.items() <= (found := self.ask("GET", "/health")[2]).items():
            assert time.monotonic() < end, f"{found} did not become {state}"
            time.sleep(0.01)


def sampler_of(policy) -> Sampler:
    return Sampler(policy.graphdef, policy.config, policy.encoder, Buckets(tokens=64, seats=2), narrow=True)


def room():
    return room_for(PLACES, ROWS, 1, 0, CONTEXT, TOKENS, 0, 2, CHUNK, Buckets(tokens=64), penalised=True)


@contextlib.contextmanager
def serving(policy, sampler: Sampler, grace: float = 0.0, **options):
    """A server that is stopped at the end."""
    running = Running(policy.encoder, Engine(sampler, sampler.load(policy.params), room()), grace, options)
    running.start()
    try:
        yield running
    finally:
        running.stop()
        running.stop()
        running.thread.join(60)
        assert not running.thread.is_alive()


def data_url(seed: int, height: int = 56, width: int = 56) -> str:
    return "data:image/png;base64," + base64.b64encode(encode_png(image_of(seed, height, width))).decode()


def user(text: str, *urls: str) -> list[dict]:
    return [{"role": "user", "content": [*({"type": "image_url", "image_url": {"url": url}} for url in urls), {"type": "text", "text": text}]}]
