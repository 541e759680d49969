"""A chat completions server on loopback that misbehaves as told."""

import json
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

from recoder_jax.rewards.judge import ITEMS, Judge, JudgeOptions

FULL = {item.name: item.points for item in ITEMS}
HALF = {item.name: item.points / 2 for item in ITEMS}
GOOD, MIDDLING = json.dumps(FULL), json.dumps(HALF)
REFERENCE = np.zeros((40, 60, 3), np.uint8)
FAST = {'first_pause': 0.01, 'seconds': 15.0, 'breaker_pause': 0.05}


def render_of(number: int) -> np.ndarray:
    """A render that differs from the others by its number."""
    image = np.full((40, 60, 3), 255, np.uint8)
    image.reshape(-1)[:32] = [number >> bit & 1 for bit in range(32)]
    return image


RENDER = render_of(0)


def completion(text, **more) -> bytes:
    choice = {'index': 0, 'finish_reason': 'stop', 'message': {'role': 'assistant', 'content': text}}
    return json.dumps({'id': 'x', 'object': 'chat.completion', 'created': 0, 'model': 'm', 'choices': [choice]} | more).encode()


class FaultServer(ThreadingHTTPServer):
    """Answers requests with the entries of `script` in order, the last one for ever.

    An entry: a function of the request's body that returns an entry; a reply text; a status; (status, headers); bytes for the whole body; 'hang', 'drop', 'reset', 'truncate',
    'trickle', 'flood'; or ('slow', seconds, entry).
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = 1024

    def __init__(self, script: Sequence, port: int = 0):
        super().__init__(('127.0.0.1', port), _Handler)
        self.script = list(script)
        self.requests, self.headers, self.times = [], [], []
        self.busy = self.busiest = 0
        self.lock, self.stopped = threading.Lock(), threading.Event()

    @property
    def address(self) -> str:
        return f'http://127.0.0.1:{self.server_address[1]}/v1'

    def handle_error(self, request, client_address):
        """A client that gave up is part of the tests."""

    def next_action(self, body):
        action = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        return action(body) if callable(action) else action


class _Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_POST(self):
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers['Content-Length'])))
        with server.lock:
            server.requests.append(body)
            server.headers.append({name.lower(): value for name, value in self.headers.items()})
            server.times.append(time.monotonic())
            action = server.next_action(body)
            server.busy += 1
            server.busiest = max(server.busiest, server.busy)
        self.open = True
        try:
            self.act(action)
        finally:
            self.over()

    def over(self):
        """The question is over just before its answer is sent: a client that has its answer may ask the next before this thread goes on."""
        with self.server.lock:
            self.server.busy -= self.open
        self.open = False

    def act(self, action):
        if isinstance(action, tuple) and action[0] == 'slow':
            self.server.stopped.wait(action[1])
            self.act(action[2])
        elif isinstance(action, tuple):
            self.answer(action[0], b'{"error": {"message": "no"}}', action[1])
        elif isinstance(action, int):
            self.answer(action, b'{"error": {"message": "no"}}')
        elif isinstance(action, bytes):
            self.answer(200, action)
        elif action == 'hang':
            self.server.stopped.wait(20)
        elif action == 'drop':
            self.connection.close()
        elif action == 'reset':
            self.connection.setsockopt(1, 13, b'\1\0\0\0\0\0\0\0')      # SO_LINGER of 0 s: closing sends a reset
            self.connection.close()
        elif action == 'truncate':
            self.begin(1000)
            self.wfile.write(completion(GOOD)[:60])
        elif action in ('trickle', 'flood'):
            self.begin(None)
            while not self.server.stopped.wait(0.02 if action == 'trickle' else 0):
                self.wfile.write(b' ' * (1 if action == 'trickle' else 100_000))
        else:
            self.answer(200, completion(action))

    def begin(self, length):
        self.send_response(200)
        self.send_header('Content-Type', 'application/json')
        if length is not None:
            self.send_header('Content-Length', str(length))
        self.end_headers()

    def answer(self, status, body, headers=()):
        self.over()
        self.send_response(status)
        self.send_header('Content-Type', 'application/json')
        self.send_header('Content-Length', str(len(body)))
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def serving(script: Sequence):
    server = FaultServer(script)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.stopped.set()
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def judge_of(*script, **options):
    """A judge and its one server, which plays `script`."""
    with serving(script) as server, Judge(JudgeOptions(**{'base_url': server.address, 'model': 'm'} | FAST | options)) as judge:
        yield judge, server


@contextmanager
def judge_of_several(*scripts, **options):
    """A judge and its servers; a script None is an address where nothing listens."""
    with ExitStack() as stack:
        servers = [script and stack.enter_context(serving(script)) for script in scripts]
        base_url = ', '.join(server.address if server else 'http://127.0.0.1:9/v1' for server in servers)
        yield stack.enter_context(Judge(JudgeOptions(**{'base_url': base_url, 'model': 'm'} | FAST | options))), servers
