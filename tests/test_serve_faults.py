"""What the server refuses and how it says so; clients that leave, a queue that is full, and how it stops."""

import asyncio
import base64
import contextlib
import json
import socket
import struct
import zlib

import openai
import pytest

from recoder_jax.serving import app
from tests.serving import CONTEXT, ENDLESS, PLACES, ROWS, TOKENS, data_url, sampler_of, serving, user


@pytest.fixture(scope="module")
def sampler(policy):
    return sampler_of(policy)


@pytest.fixture(scope="module")
def server(policy, sampler):
    with serving(policy, sampler, queue=2) as running:
        yield running


def body(**given) -> dict:
    return {"model": "tiny", "messages": [{"role": "user", "content": "?"}], "max_tokens": 2} | given


def with_content(*parts) -> dict:
    return body(messages=[{"role": "user", "content": list(parts)}])


def image(url) -> dict:
    return with_content({"type": "image_url", "image_url": {"url": url}})


def bomb() -> str:
    """A PNG of 100 000 x 100 000 pixels in its header, and few bytes."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    raw = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")
    return base64.b64encode(raw).decode()


SCHEMA = {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}}
CONTENT = "messages[0].content"


# body, status, error.param, error.code
BAD = [
    (b"", 400, None, "invalid_json"),
    (b"{", 400, None, "invalid_json"),
    (b"\xff\xfe", 400, None, "invalid_json"),
    (b"[]", 400, None, "invalid_json"),
    (b'{"model": "tiny", "temperature": NaN}', 400, None, "invalid_json"),
    (b"[" * 100_000, 400, None, "invalid_json"),
    (b'{"seed": ' + b"1" * 5000 + b"}", 400, None, "invalid_json"),
    ({"messages": []}, 400, "model", "missing_required_parameter"),
    (body(model=3), 400, "model", "invalid_type"),
    (body(model="gpt-\ud800"), 404, "model", "model_not_found"),
    ({"model": "tiny"}, 400, "messages", "missing_required_parameter"),
    (body(messages=[]), 400, "messages", "invalid_value"),
    (body(messages="hello"), 400, "messages", "invalid_type"),
    (body(messages=["hello"]), 400, "messages[0]", "invalid_type"),
    (body(messages=[{"content": "x"}]), 400, "messages[0].role", "missing_required_parameter"),
    (body(messages=[{"role": "wizard", "content": "x"}]), 400, "messages[0].role", "invalid_value"),
    (body(messages=[{"role": ["user"], "content": "x"}]), 400, "messages[0].role", "invalid_type"),
    (body(messages=[{"role": "user", "content": "x"}, {"role": "tool", "content": "x"}]), 400, "messages[1].role", "invalid_value"),
    (body(messages=[{"role": "user"}]), 400, CONTENT, "missing_required_parameter"),
    (body(messages=[{"role": "user", "content": 5}]), 400, CONTENT, "invalid_type"),
    (body(messages=[{"role": "user", "content": []}]), 400, CONTENT, "invalid_value"),
    (body(messages=[{"role": "assistant", "content": "x", "tool_calls": [{}]}]), 400, "messages[0].tool_calls", "unsupported_parameter"),
    (with_content("x"), 400, f"{CONTENT}[0]", "invalid_type"),
    (with_content({"text": "x"}), 400, f"{CONTENT}[0].type", "missing_required_parameter"),
    (with_content({"type": "text", "text": "x"}, {"type": "input_audio"}), 400, f"{CONTENT}[1].type", "invalid_value"),
    (with_content({"type": {}}), 400, f"{CONTENT}[0].type", "invalid_value"),
    (with_content({"type": "text"}), 400, f"{CONTENT}[0].text", "missing_required_parameter"),
    (with_content({"type": "image_url", "image_url": "x"}), 400, f"{CONTENT}[0].image_url", "invalid_type"),
    (with_content({"type": "image_url", "image_url": {}}), 400, f"{CONTENT}[0].image_url.url", "missing_required_parameter"),
    (image("https://example.org/a.png"), 400, f"{CONTENT}[0].image_url.url", "invalid_image_url"),
    (image(" file:///etc/passwd"), 400, f"{CONTENT}[0].image_url.url", "invalid_image_url"),
    (image("data:image/png,abc"), 400, f"{CONTENT}[0].image_url.url", "invalid_image_url"),
    (image("/etc/passwd.png"), 400, f"{CONTENT}[0].image_url.url", "invalid_base64"),
    (image("data:image/png;base64,@@@@"), 400, f"{CONTENT}[0].image_url.url", "invalid_base64"),
    (image("data:image/png;base64,"), 400, f"{CONTENT}[0].image_url.url", "invalid_image"),
    (image(base64.b64encode(b"no image").decode()), 400, f"{CONTENT}[0].image_url.url", "invalid_image"),
    (image(data_url(0)[:302]), 400, f"{CONTENT}[0].image_url.url", "invalid_image"),
    (image(bomb()), 400, f"{CONTENT}[0].image_url.url", "invalid_image"),
    (image(data_url(0, 2, 600)), 400, "messages", "invalid_value"),
    (body(messages=[{"role": "user", "content": "word " * CONTEXT}]), 400, "messages", "context_length_exceeded"),
    (body(messages=[{"role": "user", "content": "word " * 10**6}]), 400, "messages", "context_length_exceeded"),
    (body(messages=user("?", *[data_url(0)] * 17)), 400, "messages", "too_many_images"),
    (body(n=0), 400, "n", "invalid_value"),
    (body(n=ROWS + 1), 400, "n", "invalid_value"),
    (body(n=True), 400, "n", "invalid_type"),
    (body(n=1.0), 400, "n", "invalid_type"),
    (body(temperature=-0.1), 400, "temperature", "invalid_value"),
    (body(temperature=2.1), 400, "temperature", "invalid_value"),
    (body(temperature="hot"), 400, "temperature", "invalid_type"),
    (b'{"model": "tiny", "messages": [], "temperature": 1e999}', 400, "temperature", "invalid_value"),
    (body(top_p=0), 400, "top_p", "invalid_value"),
    (body(top_p=1.5), 400, "top_p", "invalid_value"),
    (body(top_k=-2), 400, "top_k", "invalid_value"),
    (body(min_p=-0.5), 400, "min_p", "invalid_value"),
    (body(repetition_penalty=0), 400, "repetition_penalty", "invalid_value"),
    (body(max_tokens=0), 400, "max_tokens", "invalid_value"),
    (body(max_tokens=TOKENS + 1), 400, "max_tokens", "invalid_value"),
    (body(max_tokens=None, max_completion_tokens="9"), 400, "max_completion_tokens", "invalid_type"),
    (body(max_completion_tokens=2), 400, "max_tokens", "invalid_parameter_combination"),
    (body(stop=""), 400, "stop", "invalid_value"),
    (body(stop=["a", "b", "c", "d", "e"]), 400, "stop", "invalid_value"),
    (body(stop=["a", ""]), 400, "stop", "invalid_value"),
    (body(stop=[1]), 400, "stop", "invalid_type"),
    (body(stop={"a": 1}), 400, "stop", "invalid_type"),
    (body(seed=2**63), 400, "seed", "invalid_value"),
    (body(seed="1"), 400, "seed", "invalid_type"),
    (body(logprobs=1), 400, "logprobs", "invalid_type"),
    (body(logprobs=True, top_logprobs=3), 400, "top_logprobs", "unsupported_value"),
    (body(stream="yes"), 400, "stream", "invalid_type"),
    (body(stream_options={"include_usage": True}), 400, "stream_options", "invalid_value"),
    (body(stream=True, stream_options=[]), 400, "stream_options", "invalid_type"),
    (body(stream=True, stream_options={"include_usage": 1}), 400, "stream_options.include_usage", "invalid_type"),
    (body(stream=True, stream_options={"x": True}), 400, "stream_options.x", "unknown_parameter"),
    (body(response_format=SCHEMA), 400, "response_format", "unsupported_parameter"),
    (body(presence_penalty=0.5), 400, "presence_penalty", "unsupported_parameter"),
    (body(logit_bias={"5": 1}), 400, "logit_bias", "unsupported_parameter"),
    (body(tools=[{"type": "function"}]), 400, "tools", "unsupported_parameter"),
    (body(guided_json={}), 400, "guided_json", "unknown_parameter"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "status", "param", "code"), BAD, ids=range(len(BAD)))
def test_a_bad_body_is_refused_with_its_field(server, given, status, param, code):
    found, answer = server.complete(given)
    error = answer["error"]
    assert (found, error["param"], error["code"], error["type"]) == (status, param, code, "invalid_request_error"), error
    assert error["message"] and "\n" not in error["message"] and len(error["message"]) < 400


def test_fields_that_leave_the_answer_as_it_is_are_taken(server):
    more = {"frequency_penalty": 0.0, "tools": [], "tool_choice": "none", "response_format": {"type": "text"}, "user": "me", "stop": None, "logit_bias": {}}
    plain, given = server.complete(body(seed=1)), server.complete(body(**more, seed=1))
    assert plain[0] == given[0] == 200 and plain[1]["choices"] == given[1]["choices"]
    echo = {"role": "assistant", "content": "x", "refusal": None, "annotations": [], "tool_calls": None, "name": "a"}
    assert server.complete(body(messages=[echo, {"role": "user", "content": "?"}]))[0] == 200


def test_unknown_paths_and_methods_are_named(server):
    status, _, answer = server.ask("GET", "/v1/completions")
    assert status == 404 and answer["error"]["code"] == "not_found" and "/v1/completions" in answer["error"]["message"]
    status, headers, answer = server.ask("GET", "/v1/chat/completions")
    assert status == 405 and headers["Allow"] == "POST" and answer["error"]["type"] == "invalid_request_error"


def test_a_body_beyond_the_bound_is_refused_before_it_is_read_in_whole(server):
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % 10**12)
        with contextlib.suppress(ConnectionError):
            for _ in range(app.MAX_BODY // 2**20 + 1):
                connection.sendall(b" " * 2**20)
        answer = connection.recv(2**16)
    assert answer.startswith(b"HTTP/1.1 413 ") and b'"code": "request_too_large"' in answer


def test_a_body_that_does_not_come_is_not_waited_for(server, monkeypatch):
    monkeypatch.setattr(app, "BODY_SECONDS", 0.05)
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        assert connection.recv(2**16).startswith(b"HTTP/1.1 408 ")
    server.until(open=0)


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_frees_its_place(server, stream):
    connections = [server.open(ENDLESS | {"n": 1 + n % ROWS, "stream": stream}) for n in range(PLACES)]
    waiting = server.open(ENDLESS)
    server.until(open=PLACES + 1, running=PLACES)
    if stream:
        assert b"data: " in connections[0].recv(2**16)
    waiting.close()
    server.until(open=PLACES)
    for connection in connections:
        connection.close()
    server.until(open=0, running=0)
    assert server.complete(body())[0] == 200


def test_a_client_that_reads_nothing_of_its_stream_is_let_go(server, monkeypatch):
    async def write(*_):
        await asyncio.sleep(60)

    monkeypatch.setattr(app, "STALL_SECONDS", 0.05)
    monkeypatch.setattr(app.web.StreamResponse, "write", write)
    with server.open(ENDLESS | {"stream": True}) as connection, contextlib.suppress(ConnectionError):
        while connection.recv(2**16):
            pass
    server.until(open=0, running=0)
    assert server.complete(body())[0] == 200  # and its place is free


def test_a_full_queue_is_told_and_those_in_it_are_answered_in_turn(server):
    with contextlib.ExitStack() as stack:
        holders = [stack.enter_context(server.open(ENDLESS)) for _ in range(PLACES)]
        server.until(running=PLACES)
        queued = [stack.enter_context(server.open(body(seed=n))) for n in range(2)]
        server.until(open=PLACES + 2)
        status, headers, answer = server.ask("POST", "/v1/chat/completions", body())
        assert status == 429 and headers["Retry-After"] == "1" and answer["error"]["type"] == "rate_limit_error" and answer["error"]["code"] == "queue_full"
        holders[0].close()
        assert all(connection.recv(2**16).startswith(b"HTTP/1.1 200") for connection in queued)
    server.until(open=0, running=0)


def test_the_key_is_asked_of_all_but_the_health_of_the_server(policy, sampler):
    with serving(policy, sampler, key="secret") as server:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "secret"}, {"Authorization": "Bearer s\u00e9cret"}):
            status, _, answer = server.ask("GET", "/v1/models", headers=headers)
            assert status == 401 and answer["error"]["code"] == "invalid_api_key" and "secret" not in json.dumps(answer)
        assert server.complete(body())[0] == 401
        assert server.ask("GET", "/health")[0] == server.ask("GET", "/ready")[0] == 200
        with openai.OpenAI(base_url=server.address, api_key="secret", max_retries=0) as client:
            assert client.models.retrieve("tiny").id == "tiny"


def test_a_server_that_stops_ends_what_it_began_and_begins_nothing(policy, sampler):
    with serving(policy, sampler, grace=60.0) as server:
        with server.open(ENDLESS | {"max_tokens": 300, "stream": True}) as connection:
            server.until(running=1)
            server.stop()
            server.until(status="stopping")
            status, answer = server.complete(body())
            assert status == 503 and answer["error"]["code"] == "server_stopping" and server.ask("GET", "/ready")[0] == 503
            heard = b"".join(iter(lambda: connection.recv(2**16), b""))
        server.thread.join(60)
        assert heard.count(b'"finish_reason":"length"') == 1 and b"data: [DONE]" in heard and not server.thread.is_alive()


def test_what_has_not_ended_when_the_grace_is_over_is_told(policy, sampler):
    with serving(policy, sampler, grace=0.05) as server:
        with server.open(ENDLESS) as whole, server.open(ENDLESS | {"stream": True}) as stream:
            server.until(running=2)
            server.stop()
            answers = [b"".join(iter(lambda connection=connection: connection.recv(2**16), b"")) for connection in (whole, stream)]
        server.thread.join(60)
        assert answers[0].startswith(b"HTTP/1.1 503 ") and answers[1].startswith(b"HTTP/1.1 200 ") and b"[DONE]" not in answers[1]
        assert all(b"server_stopping" in answer for answer in answers)


def test_an_engine_that_fails_ends_the_server_and_its_requests_hear_of_it(policy, sampler, monkeypatch):
    with serving(policy, sampler, grace=60.0) as server:
        with server.open(ENDLESS) as connection:
            server.until(running=1)
            monkeypatch.setattr(server.engine, "step", lambda: 1 / 0)
            answer = b"".join(iter(lambda: connection.recv(2**16), b""))
        assert answer.startswith(b"HTTP/1.1 500 ") and b'"code": "engine_failed"' in answer
        server.thread.join(60)
        assert isinstance(server.service.failure, ZeroDivisionError) and not server.thread.is_alive()
