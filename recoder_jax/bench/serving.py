"""Measures a running server (`python -m recoder_jax.serve`): tokens and answers a second with so many clients at a time.

    python -m recoder_jax.bench serve --base-url=http://127.0.0.1:8000/v1 --clients 1 16

Every client asks one question after the other, each with an image of its own, and reads its answer as a stream. One round is not counted.
"""

import argparse
import asyncio
import base64
import os
import time

import numpy as np
import openai

from recoder_jax.bench.machine import machine
from recoder_jax.dialogue.images import encode_png
from recoder_jax.rewards.judge_options import addresses

SUMMARY = "a running server: tokens and answers a second, time to the first token"
QUESTION = "Write one python block that draws this chart with matplotlib."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--base-url", default="http://127.0.0.1:8000/v1", help="address of the server (default http://127.0.0.1:8000/v1)")
    parser.add_argument("--key-variable", default="OPENAI_API_KEY", help="environment variable with the key (default: OPENAI_API_KEY)")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 16], help="clients at a time (default 1 16)")
    parser.add_argument("--requests", type=int, default=8, help="requests of each client (default 8)")
    parser.add_argument("--tokens", type=int, default=128, help="cap of an answer (default 128)")
    parser.add_argument("--side", type=int, default=112, help="pixels of a side of the image (default 112); 0 for no image")


def measure(options: argparse.Namespace, progress) -> dict:
    """Numbers as JSON. Raises ValueError where the server does not answer."""
    (address,) = addresses(options.base_url)
    for name, least in (("clients", 1), ("requests", 1), ("tokens", 1), ("side", 0)):
        value = min(options.clients) if name == "clients" else getattr(options, name)
        if value < least:
            raise ValueError(f"--{name} is {value}; give at least {least}")
    try:
        model, runs = asyncio.run(_runs(address, options, progress))
    except openai.OpenAIError as error:
        raise ValueError(f"the server at {address} does not answer as it should ({error}); start recoder_jax.serve") from None
    asked = {"requests": options.requests, "tokens": options.tokens, "side": options.side}
    return {"subject": "serve", "machine": machine(["jax", "jaxlib", "aiohttp"]), "model": model, **asked, "runs": runs}


async def _runs(address: str, options: argparse.Namespace, progress) -> tuple[str, list[dict]]:
    async with openai.AsyncOpenAI(base_url=address, api_key=os.environ.get(options.key_variable) or "none", max_retries=0, timeout=600) as client:
        model, runs = (await client.models.list()).data[0].id, []
        for clients in options.clients:
            await asyncio.gather(*(_ask(client, model, number, options) for number in range(clients)))
            began = time.perf_counter()
            answers = [one for many in await asyncio.gather(*(_client(client, model, number, options) for number in range(clients))) for one in many]
            seconds = time.perf_counter() - began
            firsts = [first for first, _ in answers]
            runs.append({
                "clients": clients, "seconds": seconds, "answers_per_second": len(answers) / seconds,
                "tokens_per_second": sum(count for _, count in answers) / seconds, "first_token_seconds": float(np.median(firsts)),
            })
            progress(f"{clients} clients: {runs[-1]['tokens_per_second']:.1f} tokens/s")
    return model, runs


async def _client(client: openai.AsyncOpenAI, model: str, number: int, options: argparse.Namespace) -> list[tuple[float, int]]:
    return [await _ask(client, model, number + 1000 * (1 + n), options) for n in range(options.requests)]


async def _ask(client: openai.AsyncOpenAI, model: str, seed: int, options: argparse.Namespace) -> tuple[float, int]:
    """Seconds until the first text, and tokens of the answer."""
    content, began, first, usage = [{"type": "text", "text": QUESTION}], time.perf_counter(), None, None
    if options.side:
        image = np.random.default_rng(seed).integers(0, 256, (options.side, options.side, 3), np.uint8)
        url = "data:image/png;base64," + base64.b64encode(encode_png(image)).decode()
        content.insert(0, {"type": "image_url", "image_url": {"url": url}})
    stream = await client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": content}], max_tokens=options.tokens, seed=seed, stream=True, stream_options={"include_usage": True},
    )
    async for chunk in stream:
        if first is None and chunk.choices and chunk.choices[0].delta.content:
            first = time.perf_counter() - began
        usage = chunk.usage or usage
    return first or time.perf_counter() - began, usage.completion_tokens


def table(result: dict) -> str:
    """The numbers for a terminal."""
    head = f"{result['model']}: {result['requests']} requests a client, up to {result['tokens']} tokens, image of {result['side']} x {result['side']} pixels"
    lines = [head, f"{'clients':>8}{'tokens/s':>10}{'answers/s':>11}{'first token':>13}"]
    for run in result["runs"]:
        lines.append(f"{run['clients']:>8}{run['tokens_per_second']:>10.1f}{run['answers_per_second']:>11.2f}{run['first_token_seconds']:>11.3f} s")
    return "\n".join(lines)
