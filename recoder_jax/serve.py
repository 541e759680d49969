"""Serve a policy as OpenAI-compatible chat completions with images, on the sampler that it is trained with.

    python -m recoder_jax.serve --checkpoint=runs/demo/stage2 --port=8000

Answers POST /v1/chat/completions, GET /v1/models, GET /health and GET /ready. Requests join and leave while others are decoded.
SIGTERM and SIGINT let no request in any more; those under way end within --grace seconds, and the exit code is 0.
"""

import argparse
import asyncio
import itertools
import math
import os
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

import jax
import ml_collections

from recoder_jax import factory
from recoder_jax.configuration import defaults
from recoder_jax.dialogue.encoder import Encoder
from recoder_jax.dialogue.images import ImageProcessor
from recoder_jax.dialogue.turns import Message
from recoder_jax.doors import door
from recoder_jax.sampling.drawing import Controls
from recoder_jax.sampling.engine import Engine
from recoder_jax.sampling.functions import Room, Sampler, room_for
from recoder_jax.sampling.layout import Buckets
from recoder_jax.sampling.places import Request

SEATS = 16  # decoded at least: a smaller size is another compilation, for which all wait
LEAST_TOKENS = 1024  # cap of an answer of a run's policy, where the run's own cap is lower


def run(options: argparse.Namespace) -> None:
    """Load, compile, answer until told to stop."""
    try:
        from recoder_jax.serving import app  # here, since `pip install recoder_jax` alone does not bring aiohttp
    except ModuleNotFoundError as error:
        raise ValueError(f"{error.name} is not installed; run pip install 'recoder_jax[serve]'") from None
    check_options(options)
    key, config = key_of(options), config_of(options)
    check_sizes(options, config)
    with socket_of(options) as sock:
        policy, engine = open_engine(options, config)
        if not key and options.host not in ("127.0.0.1", "localhost", "::1"):
            print(f"anybody who reaches {options.host} may ask, since no key is asked for (--key-variable)", flush=True)
        name = options.name or Path(options.checkpoint).resolve().name
        settings = app.Options(
            name=name, key=key, places=options.places, queue=options.queue, rows=options.rows, tokens=config.rollout.response_tokens, context=options.context,
            images=options.images,
        )
        failure = asyncio.run(answer(app, settings, policy.encoder, engine, sock, options.grace))
    if failure is not None:
        raise memory_error(failure) or failure


async def answer(app, settings, encoder: Encoder, engine: Engine, sock: socket.socket, grace: float) -> Exception | None:
    """Serve until a signal. Returns the error of the engine, if one ended the service."""
    from recoder_jax.serving.worker import Worker

    service, loop = app.Service(encoder, settings), asyncio.get_running_loop()
    service.employ(Worker(engine, service.spelling, service.failed))
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, service.stop)
    host, port = sock.getsockname()[:2]
    address = f"http://[{host}]:{port}/v1" if ":" in host else f"http://{host}:{port}/v1"
    await app.serve(service, sock, grace, lambda: print(f"serving {settings.name} at {address}", flush=True))
    return service.failure


def check_options(options: argparse.Namespace) -> None:
    """Raises ValueError for a value no server can have."""
    for name, least, most in (
        ("port", 0, 65535), ("places", 1, 4096), ("rows", 1, 128), ("lanes", 1, options.places), ("chunk", 1, 4096), ("max_tokens", 0, 2**20),
        ("context", 1, 2**20), ("images", 0, 4096), ("queue", 0, 2**20), ("min_pixels", 0, 2**31), ("max_pixels", 0, 2**31),
    ):  # fmt: skip
        value = getattr(options, name)
        if not least <= value <= most:
            raise ValueError(f"--{name.replace('_', '-')} is {value}; give a number from {least} to {most}")
    if not 0 <= options.grace < math.inf:
        raise ValueError(f"--grace is {options.grace}; give seconds from 0")


def key_of(options: argparse.Namespace) -> str:
    """The key that clients must send, '' for none. Raises ValueError where the named variable holds none."""
    key = os.environ.get(options.key_variable, "").strip() if options.key_variable else ""
    if options.key_variable and not key:
        raise ValueError(f"--key-variable is {options.key_variable}, but the environment holds no such key; set it or leave the option out")
    return key


def config_of(options: argparse.Namespace) -> ml_collections.ConfigDict:
    """Image bounds and the cap of an answer: those of the options, of the run, or for a policy directory those of the paper-sized configs."""
    config = defaults()
    if not factory.is_of_run(options.checkpoint):
        config.image.min_pixels, config.image.max_pixels = 4 * 28 * 28, 1280 * 28 * 28
        config.rollout.response_tokens = 4096
    else:
        config = factory.config_of_run(options.checkpoint, config)
        config.rollout.response_tokens = max(config.rollout.response_tokens, LEAST_TOKENS)
    config.rollout.response_tokens = options.max_tokens or config.rollout.response_tokens
    config.image.update({name: getattr(options, name) for name in ("min_pixels", "max_pixels") if getattr(options, name)})
    return config


def check_sizes(options: argparse.Namespace, config: ml_collections.ConfigDict) -> None:
    """Raises ValueError for image bounds that fit neither each other nor the prompt."""
    bounds = config.image
    ImageProcessor(min_pixels=bounds.min_pixels, max_pixels=bounds.max_pixels)
    tokens = bounds.max_pixels // 28**2
    if tokens >= options.context:
        raise ValueError(f"an image may take {tokens} tokens and a prompt {options.context}; raise --context or lower --max-pixels")


def socket_of(options: argparse.Namespace) -> socket.socket:
    """The socket, bound but not listening, so that a taken port is told before anything is loaded and nobody connects before all is."""
    try:
        family, *_, address = socket.getaddrinfo(options.host, options.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except OSError as error:
        raise ValueError(f"--host is {options.host!r}, which is no address ({error.strerror}); give one of this machine") from None
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind(address)
    except OSError as error:
        sock.close()
        raise ValueError(f"{options.host}:{options.port} cannot be served on ({error.strerror}); choose another --host or --port") from None
    return sock


def open_engine(options: argparse.Namespace, config: ml_collections.ConfigDict) -> tuple[factory.Policy, Engine]:
    """The policy and an engine that has compiled what short texts need. Raises ValueError where the device cannot hold it."""
    mesh = factory.one_row(options.tensor)
    with jax.set_mesh(mesh):
        policy, params = factory.trained_policy(options.checkpoint, config, mesh)
        sampler = factory.sampler_of(policy, mesh, Buckets(seats=SEATS), narrow=True)
        room = room_of(options, config, sampler)
        print(
            f"{policy.config.parameters() / 1e6:.2f} M parameters; KV cache of {room.bytes(policy.config) / 1e6:.1f} MB: {options.places} requests of "
            f"{options.rows} answers, prompts of {options.context} tokens, answers of {config.rollout.response_tokens}", flush=True
        )  # fmt: skip
        try:
            params = sampler.load(params)
            engine = Engine(sampler, params, room)
            warm(engine, policy.encoder)
        except jax.errors.JaxRuntimeError as error:
            raise memory_error(error) or error from None
    return policy, engine


def memory_error(error: Exception) -> ValueError | None:
    """What to say of an error of jax where the device was too small."""
    if isinstance(error, jax.errors.JaxRuntimeError) and "RESOURCE_EXHAUSTED" in str(error):
        return ValueError("out of device memory: lower --places, --rows, --context or --max-tokens, or raise --tensor")
    return None


def room_of(options: argparse.Namespace, config: ml_collections.ConfigDict, sampler: Sampler) -> Room:
    return room_for(
        options.places, options.rows, 1, 0, options.context, config.rollout.response_tokens, 0, options.lanes, options.chunk, sampler.buckets, penalised=True,
        int8=options.cache_dtype == "int8",
    )


def warm(engine: Engine, encoder: Encoder) -> None:
    """Compile what a short text needs, alone and where all places are taken, sampled from all tokens and from some."""
    prompt, room = encoder.prompt([Message("user", ("Hello",))]), engine.room
    for controls, count in itertools.product((Controls(), Controls(top_p=0.5)), sorted({1, room.places})):
        for number in range(count):
            engine.submit(Request(prompt, (0, 0, number), 1, rows=room.rows if count > 1 else 1, controls=controls))
        while engine.busy:
            for said in engine.step():
                engine.release(said.request, said.row)


def options_parser() -> argparse.ArgumentParser:
    """The command line of this door."""
    parser = argparse.ArgumentParser(prog="python -m recoder_jax.serve", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--checkpoint", required=True, metavar="DIR", help="run directory (RUN@STEP or RUN@best for another checkpoint than the newest), or policy directory of `convert import`")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1)")
    parser.add_argument("--port", type=int, default=8000, help="port to listen on; 0 takes a free one (default 8000)")
    parser.add_argument("--name", default="", help="of the model (default: the name of the directory)")
    parser.add_argument("--key-variable", default="", metavar="NAME", help="environment variable with the key that clients must send (default: no key)")
    parser.add_argument("--tensor", type=int, default=1, metavar="N", help="devices over which weights and cache are split (default 1)")
    parser.add_argument("--places", type=int, default=8, help="requests decoded side by side (default 8)")
    parser.add_argument("--rows", type=int, default=4, help="most answers of a request, its n (default 4)")
    parser.add_argument("--lanes", type=int, default=1, help="prompts read in one call (default 1)")
    parser.add_argument("--chunk", type=int, default=16, help="tokens decoded between two looks at who comes and goes (default 16)")
    parser.add_argument("--cache-dtype", choices=("model", "int8"), default="model", help="of keys and values: that of activations, or int8 (default model)")
    parser.add_argument("--context", type=int, default=4096, help="most tokens of a prompt, images included (default 4096)")
    parser.add_argument("--images", type=int, default=16, help="most images of a prompt (default 16)")
    parser.add_argument("--max-tokens", type=int, default=0, help=f"of an answer (default: 4096; the run's, at least {LEAST_TOKENS})")
    parser.add_argument("--queue", type=int, default=64, help="requests that may wait for a place (default 64)")
    parser.add_argument("--grace", type=float, default=30.0, help="seconds for requests under way when the server stops (default 30)")
    parser.add_argument("--min-pixels", type=int, default=0, help="images are scaled to at least this size (default: the run's; 4 x 28 x 28)")
    parser.add_argument("--max-pixels", type=int, default=0, help="and to at most this size (default: the run's; 1280 x 28 x 28)")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    options = options_parser().parse_args(arguments)
    return door("serve", lambda: run(options))


if __name__ == "__main__":
    sys.exit(main())
