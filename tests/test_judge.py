"""Promises of the judge client, against a local server that misbehaves on purpose."""

import base64
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
import io
import json
import threading
import time

import numpy as np
from hypothesis import given, strategies as st
from PIL import Image
import pytest

from recoder_jax.rewards.judge import ITEMS, Judge, JudgeOptions, Judgement, parse_reply

FULL = {item.name: item.points for item in ITEMS}
HALF = {item.name: item.points / 2 for item in ITEMS}
REFERENCE, RENDER = np.zeros((4, 6, 3), np.uint8), np.full((5, 3, 3), 255, np.uint8)


class Server(ThreadingHTTPServer):
    """Answers requests with the entries of `script` in order, the last one for ever.

    An entry is a reply text, a status number, bytes for the whole body, 'hang' or 'drop'.
    """

    daemon_threads = True

    def __init__(self, script):
        super().__init__(('127.0.0.1', 0), Handler)
        self.script, self.requests, self.headers = list(script), [], []
        self.busy = self.busiest = 0
        self.lock, self.stopped = threading.Lock(), threading.Event()

    def handle_error(self, request, client_address):
        """A client that gave up is part of the tests."""


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_POST(self):
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers['Content-Length'])))
        with server.lock:
            server.requests.append(body)
            server.headers.append({name.lower(): value for name, value in self.headers.items()})
            action = server.script.pop(0) if len(server.script) > 1 else server.script[0]
            server.busy += 1
            server.busiest = max(server.busiest, server.busy)
        try:
            self.act(action)
        finally:
            with server.lock:
                server.busy -= 1

    def act(self, action):
        if action == 'hang':
            self.server.stopped.wait(20)
        elif action == 'drop':
            self.connection.close()
        elif action == 'trickle':
            self.send_response(200)
            self.send_header('Content-Type', 'application/json')
            self.end_headers()
            while not self.server.stopped.wait(0.02):
                self.wfile.write(b' ')
        elif isinstance(action, int):
            self.answer(action, b'{"error": {"message": "no"}}')
        elif isinstance(action, bytes):
            self.answer(200, action)
        else:
            choice = {'index': 0, 'finish_reason': 'stop', 'message': {'role': 'assistant', 'content': action}}
            self.answer(200, json.dumps({'id': 'x', 'object': 'chat.completion', 'created': 0, 'model': 'm', 'choices': [choice]}).encode())

    def answer(self, status, body):
        time.sleep(0.01)
        self.send_response(status)
        self.send_header('Content-Type', 'application/json')
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def judge_of(*script, **options):
    server = Server(script)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    address = f'http://127.0.0.1:{server.server_address[1]}/v1'
    try:
        with Judge(JudgeOptions(**{'base_url': address, 'model': 'm', 'first_pause': 0.01, 'seconds': 15.0} | options)) as judge:
            yield judge, server
    finally:
        server.stopped.set()
        server.shutdown()
        thread.join()
        server.server_close()


def test_points_become_a_share_of_one_hundred():
    with judge_of(json.dumps(HALF)) as (judge, _):
        assert judge.judge(REFERENCE, RENDER) == Judgement(score=0.5, items=HALF)


def test_the_reference_comes_first_and_the_pixels_arrive_whole():
    with judge_of(json.dumps(FULL)) as (judge, server):
        judge.judge(REFERENCE, RENDER)
    content = server.requests[0]['messages'][0]['content']
    assert [part['type'] for part in content] == ['text', 'image_url', 'image_url']
    for part, image in zip(content[1:], (REFERENCE, RENDER)):
        png = base64.b64decode(part['image_url']['url'].removeprefix('data:image/png;base64,'))
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(png))), image)
    assert all(f'"{item.name}", 0 to {item.points}' in content[0]['text'] for item in ITEMS)
    assert sum(item.points for item in ITEMS) == 100 and server.requests[0]['temperature'] == 0


@pytest.mark.parametrize('trouble', [500, 503, 429, 408, 'drop', b'<html>not json</html>', b'{}', b'{"choices": []}', b'null', 'I think it is nice.'])
def test_what_may_pass_is_asked_again(trouble):
    with judge_of(trouble, trouble, json.dumps(FULL)) as (judge, server):
        assert judge.judge(REFERENCE, RENDER).score == 1.0
        assert len(server.requests) == 3


@pytest.mark.parametrize('trouble', [500, 'drop', b'{}', 'I give 20 of 20.'])
def test_a_judge_that_never_recovers_gives_a_failure_and_not_zero(trouble):
    with judge_of(trouble, attempts=2) as (judge, server):
        judgement = judge.judge(REFERENCE, RENDER)
        assert judgement.score is None and 'failed 2 times' in judgement.failure and '\n' not in judgement.failure
        assert len(server.requests) == 2


@pytest.mark.parametrize('status', [400, 401, 404])
def test_a_refused_question_is_not_repeated(status):
    with judge_of(status) as (judge, server):
        judgement = judge.judge(REFERENCE, RENDER)
        assert judgement.score is None and f'status {status}' in judgement.failure
        assert len(server.requests) == 1


@pytest.mark.parametrize('trouble', ['hang', 'trickle', 500])
def test_the_deadline_holds_whatever_the_server_does(trouble):
    with judge_of(trouble, seconds=0.3, attempts=100) as (judge, _):
        judgement = judge.submit(REFERENCE, RENDER).result(timeout=10)
        assert judgement.score is None and 'within 0.3 s' in judgement.failure


def test_no_server_at_all_is_a_failure():
    options = JudgeOptions('http://127.0.0.1:9/v1', 'm', attempts=2, first_pause=0.01)
    with Judge(options) as judge:
        assert 'connection' in judge.judge(REFERENCE, RENDER).failure


def test_no_more_questions_are_open_than_allowed_and_answers_keep_their_place():
    with judge_of(*[json.dumps(FULL | {'data': points}) for points in range(12)], concurrency=3) as (judge, server):
        futures = [judge.submit(REFERENCE, RENDER) for _ in range(12)]
        points = sorted(future.result().items['data'] for future in futures)
        assert points == list(range(12)) and 1 < server.busiest <= 3


def test_without_a_render_the_score_is_zero_and_nobody_is_asked():
    with judge_of(json.dumps(FULL)) as (judge, server):
        assert judge.judge(REFERENCE, None) == Judgement(score=0.0)
        assert server.requests == []


def test_closing_ends_open_questions_as_failures():
    with judge_of('hang', concurrency=1) as (judge, _):
        futures = [judge.submit(REFERENCE, RENDER) for _ in range(3)]
        judge.close()
        assert all('closed' in future.result(timeout=10).failure for future in futures)
        with pytest.raises(ValueError, match='closed'):
            judge.submit(REFERENCE, RENDER)


def test_the_key_comes_from_the_environment_and_stays_out_of_failures(monkeypatch):
    monkeypatch.setenv('JUDGE_KEY_OF_TEST', 'sk-secret')
    with judge_of(401, key_variable='JUDGE_KEY_OF_TEST') as (judge, server):
        judgement = judge.judge(REFERENCE, RENDER)
        assert server.headers[0]['authorization'] == 'Bearer sk-secret'
        assert 'sk-secret' not in repr(judgement) + repr(judge.__dict__['_options'])


def test_options_without_sense_are_refused():
    with pytest.raises(ValueError, match='not a URL'):
        Judge(JudgeOptions('localhost:8000', 'm'))
    with pytest.raises(ValueError, match='at least one attempt'):
        Judge(JudgeOptions('http://localhost/v1', 'm', attempts=0))


@pytest.mark.parametrize('reply, data', [
    (json.dumps(FULL), 20),
    ('```json\n' + json.dumps(FULL) + '\n```', 20),
    ('First {"a": 1}. Then:\n' + json.dumps(FULL | {'data': '7.5 / 20'}) + ' Done.', 7.5),
    (json.dumps({name.upper().replace('_', ' '): points for name, points in (FULL | {'data': 3}).items()}), 3),
    (json.dumps(FULL | {'comment': 'close'}), 20),
])
def test_replies_as_models_write_them_are_read(reply, data):
    assert parse_reply(reply)['data'] == data


@pytest.mark.parametrize('change', [{'data': 21}, {'data': -1}, {'data': None}, {'data': True}, {'data': '20/100'}, {'data': 'many'},
                                    {'data': 10 ** 400}, {'data': float('nan')}, {'data': [1]}])
def test_points_outside_their_limits_are_never_clamped(change):
    assert parse_reply(json.dumps(FULL | change)) is None


@given(st.text() | st.recursive(st.none() | st.floats() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)).map(json.dumps))
def test_parsing_never_raises(reply):
    parse_reply(reply)
    parse_reply('{' * 5_000 + reply)
