"""Promises of `python -m recoder_jax.serve`: what it prints, how it ends, and what it says of bad options."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import openai
import pytest

from recoder_jax import factory, serve
from recoder_jax.configuration import defaults
from recoder_jax.models.store import save_policy
from tests.serving import data_url, user


@pytest.fixture(scope="module")
def checkpoint(policy, tmp_path_factory) -> Path:
    """A policy directory, which speaks the tiny tokenizer."""
    path = tmp_path_factory.mktemp("policies") / "random"
    save_policy(path, policy.config, policy.params)
    return path


@pytest.fixture
def place(tmp_path):
    """A run directory and a policy directory, both without weights."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text(json.dumps(defaults().to_dict()))
    (tmp_path / "policy" / "params").mkdir(parents=True)
    return tmp_path


@contextlib.contextmanager
def door(checkpoint, *extra, **environment):
    """The door in a process of its own; standard output is a pipe."""
    command = [sys.executable, "-m", "recoder_jax.serve", f"--checkpoint={checkpoint}", "--port=0", *extra]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | environment)
    with process:
        try:
            yield process
        finally:
            process.kill()


def test_a_served_policy_answers_until_sigterm_and_ends_what_it_began(checkpoint):
    extra = ["--places=2", "--rows=2", "--context=256", "--max-pixels=9408", "--min-pixels=784", "--max-tokens=1000", "--key-variable=DOOR_KEY", "--grace=60"]
    with door(checkpoint, *extra, DOOR_KEY="secret") as process:
        first, second = process.stdout.readline(), process.stdout.readline()
        assert "KV cache of" in first and "2 requests of 2 answers" in first
        name, address = second.removeprefix("serving ").split(" at ")
        assert name == "random" and address.startswith("http://127.0.0.1:")
        with openai.OpenAI(base_url=address.strip(), api_key="secret", max_retries=0) as client:
            assert client.models.list().data[0].id == "random"
            whole = client.chat.completions.create(model="random", messages=user("?", data_url(1)), max_tokens=5, n=2)
            assert len(whole.choices) == 2
            with client.chat.completions.create(model="random", messages=user("?"), temperature=0, stream=True) as stream:
                chunks = [next(stream), next(stream)]
                process.send_signal(signal.SIGTERM)
                with pytest.raises(openai.InternalServerError) as error:
                    while True:  # until the signal has arrived
                        client.chat.completions.create(model="random", messages=user("?"), max_tokens=1)
                assert error.value.status_code == 503 and error.value.code == "server_stopping"
                chunks += list(stream)
        assert chunks[-1].choices[0].finish_reason == "length"
        assert process.wait(60) == 0 and process.stdout.read() == "" and process.stderr.read() == ""


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ("--port=70000", "--port is 70000"),
        ("--places=0", "--places is 0"),
        ("--tensor=0", "--tensor is 0"),
        ("--rows=0", "--rows is 0"),
        ("--lanes=9", "--lanes is 9; give a number from 1 to 8"),
        ("--chunk=0", "--chunk is 0"),
        ("--max-tokens=-1", "--max-tokens is -1"),
        ("--context=0", "--context is 0"),
        ("--images=-1", "--images is -1"),
        ("--queue=-1", "--queue is -1"),
        ("--grace=-1", "--grace is -1"),
        ("--grace=nan", "--grace is nan"),
        ("--max-pixels=-1", "--max-pixels is -1"),
        ("--max-pixels=783", "do not fit together"),
        ("--context=64", "raise --context or lower --max-pixels"),
        ("--key-variable=NO_SUCH_KEY", "holds no such key"),
        ("--host=no host", "no address"),
        ("--host=192.0.2.1", "cannot be served on"),
    ],
)
def test_bad_options_are_refused_before_anything_is_loaded(extra, words, place, capsys):
    assert serve.main([f"--checkpoint={place / 'run'}", extra]) == 2
    error = capsys.readouterr().err.strip()
    assert words in error and error.count("\n") == 0


def test_a_taken_port_and_a_missing_checkpoint_are_named(place, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert serve.main([f"--checkpoint={place / 'run'}", f"--port={port}"]) == 2
    assert f"127.0.0.1:{port} cannot be served on" in capsys.readouterr().err
    assert serve.main([f"--checkpoint={place / 'nowhere'}"]) == 2
    assert "is no run directory" in capsys.readouterr().err


def test_caps_and_bounds_come_from_the_options_then_the_checkpoint(place):
    saved = defaults().to_dict()
    saved["rollout"]["response_tokens"], saved["image"]["max_pixels"] = 2000, 28 * 280
    (place / "run" / "config.json").write_text(json.dumps(saved))

    def sizes(checkpoint, *extra):
        config = serve.config_of(serve.options_parser().parse_args([f"--checkpoint={place / checkpoint}", *extra]))
        return config.rollout.response_tokens, config.image.min_pixels, config.image.max_pixels

    assert sizes("run") == (2000, 28 * 28, 28 * 280) and sizes("policy") == (4096, 4 * 28 * 28, 1280 * 28 * 28)
    given = ["--max-tokens=7", "--min-pixels=800", "--max-pixels=9000"]
    assert sizes("run", *given) == sizes("policy", *given) == (7, 800, 9000)


def test_the_room_holds_what_the_options_promise(policy):
    options = serve.options_parser().parse_args(["--checkpoint=x", "--places=3", "--rows=2", "--context=300", "--chunk=7"])
    config = defaults()
    config.rollout.response_tokens = 50
    room = serve.room_of(options, config, factory.sampler_of(policy, None))
    assert room.places == 3 and room.rows == 2 and room.prefix >= 300 and room.suffix >= 57 and room.penalised and room.shared_slots == 0
